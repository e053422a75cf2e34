"""A raster of 648 million pixels is read and segmented in parts, in memory that does not depend on its size."""

from __future__ import annotations

from pathlib import Path

import pytest

from sgovss.rasters.options import SceneOptions

from .fake import FakeModel, fake_mapper

CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
WORLD = "odd_rasters/rio_tiler/cog_world.tif"


def megabytes(key: str) -> float:
    """The memory of this process now (VmRSS), or its peak (VmHWM)."""
    lines = STATUS.read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def grown_by(work) -> float:
    """The megabytes by which the memory of this process rises at most while it works."""
    CLEAR.write_text("5")  # forgets the peak
    before = megabytes("VmRSS")
    work()
    return megabytes("VmHWM") - before


@pytest.mark.skipif(not CLEAR.exists(), reason="needs /proc")
def test_a_row_of_windows_of_a_large_raster_takes_little_memory(real_data, tmp_path):
    """A row of windows is 7,870 rows of 36,000 pixels: 283 million pixels are finished after it."""
    path = real_data / WORLD
    if not path.is_file():
        pytest.skip(f"needs {path}")
    mapper = fake_mapper(FakeModel(), options=SceneOptions(gsd=17_000), WINDOW=512, STRIDE=384)
    plan = mapper.plan(path, tmp_path / "world")
    assert plan.units.height * plan.units.width == 648_000_000
    bands = mapper.fill(plan, next(plan.serial_order([*plan.units.all()])))
    grown = grown_by(lambda: [next(bands) and None for _ in range(3)])
    bands.close()
    assert grown < 240, f"{grown:.0f} MB"  # 150 to 170 MB; labels of four bytes a pixel would take 320
