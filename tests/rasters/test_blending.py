"""Blending of windows: exact for local scores, without seams; the same for units alone and together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from rasterio.windows import Window

from sgovss.rasters.blending import ScoreSums
from sgovss.rasters.grid import Axis
from sgovss.rasters.options import SceneOptions
from sgovss.rasters.source import RasterSource

from .fake import FakeModel, fake_mapper, fill_all, scene_of


def blended(down: Axis, across: Axis, maps) -> torch.Tensor:
    """(T, rows, columns) mean of maps, window by window; ``maps(row, column)`` gives one."""
    rows, columns = (0, len(down.totals)), (0, len(across.totals))
    sums = ScoreSums(down, across, rows, columns, 2, len(down.totals), torch.device("cpu"))
    for row in range(len(down.starts)):
        for column in range(len(across.starts)):
            sums.add(maps(row, column), row, column)
    return sums.mean(*rows)


@pytest.mark.parametrize("stride", [32, 64, 96])
def test_a_local_score_is_unchanged(stride):
    down, across = (Axis.plan(side, 1.0, 96, stride, 32, 8) for side in (224, 416))
    whole = torch.rand(2, len(down.totals), len(across.totals))

    def part(row, column):
        top, left = down.in_cells(down.starts[row]), across.in_cells(across.starts[column])
        return whole[:, top : top + 24, left : left + 24]

    torch.testing.assert_close(blended(down, across, part), whole)


@pytest.mark.parametrize("stride", [32, 64])
def test_there_are_no_seams(stride):
    """Between neighbouring cells the result changes at most as much as the weights, whatever the scores are."""
    axes = [Axis.plan(side, 1.0, 128, stride, 32, 8) for side in (320, 416)]
    rng = np.random.default_rng(0)
    result = blended(*axes, lambda *_: torch.tensor(rng.random((2, 1, 1)), dtype=torch.float32).expand(2, 32, 32))
    for number, axis in enumerate(axes):
        step = np.abs(np.diff(np.pad(axis.weights, 1))).max()
        bound = 2 * step / axis.totals[16:-16].min()  # one window alone has no seam
        assert result.diff(dim=number + 1).abs().max() <= bound < 0.6


SIZES = [(700, 600), (520, 1100), (1100, 300)]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("keys", [{"BATCH": 1}, {"BATCH": 3, "STRIDE": 96}])
def test_units_alone_and_together_are_equal_byte_for_byte(write_raster, tmp_path, height, width, keys):
    path = scene_of(write_raster, height, width)
    model = FakeModel(constant=True)
    mapper = fake_mapper(model, options=SceneOptions(confidence=True, probabilities=True), **keys)
    plan = mapper.plan(path, tmp_path / "out")
    plan = replace(plan, units=replace(plan.units, rows=512, columns=512), strips=1)
    units = [*plan.units.all()]
    assert len(units) >= 3
    together = fill_all(mapper, plan, plan.units.passes(units, strips=8))
    count = len(plan.down.starts) * len(plan.across.starts)
    assert model.windows == count  # no window is encoded twice
    alone = fill_all(mapper, plan, [[unit] for unit in units])
    columns = fill_all(mapper, plan, plan.units.passes(units, strips=1))
    for unit in units:
        for one, two, three in zip(together[unit][:4], alone[unit][:4], columns[unit][:4], strict=True):
            assert one.tobytes() == two.tobytes() == three.tobytes()


def test_the_number_of_words_does_not_change_what_the_model_sees(write_raster, tmp_path):
    path = scene_of(write_raster, 520, 300)
    shapes = []
    for count in (2, 50, 500):
        model = FakeModel()
        mapper = fake_mapper(model, ", ".join(f"thing {i}" for i in range(count)), WINDOW=512, STRIDE=384)
        plan = mapper.plan(path, tmp_path / "out")
        fill_all(mapper, plan, [[next(plan.units.all())]])
        shapes.append(model.shapes[0][-2:])
    assert set(shapes) == {(512, 320)}


def test_windows_without_data_are_not_scored(write_raster, tmp_path):
    mask = np.zeros((150, 210), np.uint8)
    mask[100:, 150:] = 255
    path = write_raster(np.full((3, 150, 210), 90, np.uint8), mask=mask)
    model = FakeModel()
    mapper = fake_mapper(model)
    plan = mapper.plan(path, tmp_path / "out")
    (pixels,) = fill_all(mapper, plan, [[*plan.units.all()]]).values()
    assert ((pixels.labels != 255) == (mask > 0)).all()
    tops, lefts = plan.down.starts, plan.across.starts
    assert model.windows == sum(top + 96 > 100 and left + 96 > 150 for top in tops for left in lefts)


@pytest.mark.parametrize("gsd", [(0.6, 0.6), (0.15, 0.15), (0.3, 0.6), (1.1, 0.2)])
def test_labels_have_the_size_of_the_scene_at_any_resolution(write_raster, tmp_path, gsd):
    from rasterio.transform import from_origin

    place = {"crs": "EPSG:32632", "transform": from_origin(500_000, 5_300_000, gsd[1], gsd[0])}
    path = scene_of(write_raster, 150, 210, **place)
    mapper = fake_mapper(FakeModel())
    plan = mapper.plan(path, tmp_path / "out")
    assert plan.down.length == pytest.approx(150 * gsd[0] / 0.3, abs=1)
    assert plan.across.length == pytest.approx(210 * gsd[1] / 0.3, abs=1)
    (pixels,) = fill_all(mapper, plan, [[*plan.units.all()]]).values()
    assert pixels.labels.shape == (150, 210)
    # The fake model's class is the brightest colour. In the middle of the squares no other one is near.
    with RasterSource(path) as source:
        colours = np.sort(source.read(Window(0, 0, 210, 150), (150, 210))[0].astype(int), axis=2)
        brightest = source.read(Window(0, 0, 210, 150), (150, 210))[0].argmax(axis=2)
    sure = (colours[..., 2] - colours[..., 1] > 20) & np.isin(np.indices((150, 210)) % 16, (7, 8)).all(axis=0)
    assert (pixels.labels == brightest)[sure].mean() > 0.97


def test_the_serial_order_encodes_no_window_twice(write_raster, tmp_path):
    model = FakeModel()
    plan = fake_mapper(model).plan(scene_of(write_raster, 120, 4200), tmp_path / "out")
    assert len([*plan.units.all()]) >= 3  # side by side
    fill_all(fake_mapper(model), plan, plan.serial_order([*plan.units.all()]))
    assert model.windows == len(plan.down.starts) * len(plan.across.starts)
