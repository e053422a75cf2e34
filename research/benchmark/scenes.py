"""Large georeferenced scenes through the demo: what they take."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sgovss.data.specification_file import load_specification
from sgovss.errors import InputError
from sgovss.paths import dataset_files
from sgovss.synthetic import generate_image

_TILE = 512
_ADJECTIVES = ("", "wide ", "old ", "red ", "round ")
_KINDS = 8  # different scenes that a large one is laid out of
_RUN_AND_TELL_MEMORY = """
import json, runpy, sys
from sgovss.resources import peak_megabytes
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    if end.code:
        raise
print(json.dumps(peak_megabytes()))
"""


@dataclass(frozen=True)
class SceneRuns:
    """Seconds and peak megabytes of each run of the same command, its start included."""

    seconds: Sequence[float]
    megabytes: Sequence[float]

    @property
    def median(self) -> float:
        """Seconds of the middle run."""
        return statistics.median(self.seconds)


def write_scene(path: Path, size: int) -> None:
    """A georeferenced scene of ``size`` by ``size`` pixels at 0.3 m, laid out of generated ones."""
    import rasterio
    from rasterio.transform import from_origin
    from rasterio.windows import Window

    tiles = [generate_image(70_001 + kind, _TILE, "b").image.transpose(2, 0, 1) for kind in range(_KINDS)]
    profile = {"driver": "GTiff", "height": size, "width": size, "count": 3, "dtype": "uint8", "compress": "deflate"}
    place = {"crs": "EPSG:32632", "transform": from_origin(500_000, 5_300_000, 0.3, 0.3)}
    layout = {"tiled": True, "blockxsize": _TILE, "blockysize": _TILE}
    with rasterio.open(path, "w", **profile, **place, **layout) as raster:
        for top in range(0, size, _TILE):
            for left in range(0, size, _TILE):
                height, width = min(_TILE, size - top), min(_TILE, size - left)
                tile = tiles[(3 * top // _TILE + left // _TILE) % _KINDS]
                raster.write(tile[:, :height, :width], window=Window(left, top, width, height))


def scene_words(classes: int) -> list[str]:
    """The class names of the datasets that come with sgovss, then those with adjectives: words of aerial images.

    Raises:
        InputError: there are not so many.
    """
    specifications = map(load_specification, dataset_files())
    names = sorted({entry.name.lower() for each in specifications for entry in each.vocabulary})
    words = [f"{adjective}{name}" for adjective in _ADJECTIVES for name in names]
    if classes > len(words):
        raise InputError(f"--classes: {classes} words of aerial images were asked for, {len(words)} are known here")
    return words[:classes]


def segment_scene(demo: Path, arguments: Sequence[str | Path], repeats: int) -> SceneRuns:
    """Run ``demo`` (demo.py) with these arguments, each time in a process of its own.

    Raises:
        InputError: a run failed; its last line.
    """
    runs = [_run(demo, arguments) for _ in range(repeats)]
    return SceneRuns([seconds for seconds, _ in runs], [megabytes for _, megabytes in runs])


def _run(demo: Path, arguments: Sequence[str | Path]) -> tuple[float, float]:
    argv = [sys.executable, "-c", _RUN_AND_TELL_MEMORY, str(demo), *map(str, arguments)]
    started = time.monotonic()
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    if done.returncode:
        raise InputError(f"demo.py ended with status {done.returncode}: {done.stderr.strip().splitlines()[-1]}")
    return seconds, json.loads(done.stdout.splitlines()[-1])
