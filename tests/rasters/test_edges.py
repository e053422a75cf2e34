"""Scenes whose scores are smoothed along the edges of the image."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import torch

from sgovss.modeling.guided_filter import smooth_along_edges
from sgovss.rasters.options import SceneOptions

from .conftest import UTM, read
from .fake import FakeModel, fake_mapper, fill_all, scene_of


def test_a_scene_of_one_window_gets_the_smoothed_scores(tmp_path, write_raster):
    path = scene_of(write_raster, 96, 96, **UTM)
    options = SceneOptions(edges=True, probabilities=True)
    result = fake_mapper(FakeModel(), options=options)(path, tmp_path / "a")
    with rasterio.open(path) as raster:
        images = torch.from_numpy(raster.read()[None])
    maps = smooth_along_edges(FakeModel().score_maps(images, ["a", "b", "c"]), images)
    expected = torch.nn.functional.interpolate(maps, size=(96, 96), mode="bilinear")[0].numpy()
    with rasterio.open(result.files["probabilities"]) as raster:
        assert np.abs(raster.read() - 100 * expected).max() <= 0.6


@pytest.mark.parametrize(("height", "width"), [(600, 540), (520, 700)])
def test_parts_do_not_depend_on_each_other(height, width, tmp_path, write_raster):
    path = scene_of(write_raster, height, width, **UTM)
    mapper = fake_mapper(FakeModel(), options=SceneOptions(edges=True, confidence=True))
    plan = mapper.plan(path, tmp_path / "a")
    units = [*plan.units.all()]
    together, alone = (
        fill_all(mapper, plan, parts) for parts in (plan.serial_order(units), [[unit] for unit in units])
    )
    for unit in units:
        assert (together[unit].labels == alone[unit].labels).all()
        assert (together[unit].confidence == alone[unit].confidence).all()


def test_the_command_smooths_and_takes_it_for_another_run(demo, write_raster, scene_pixels):
    path = write_raster(scene_pixels[:, :120, :150], **UTM)
    maps = []
    for flags in ([], ["--edges"], []):
        status, out, errors = demo(path, *flags, "--confidence")
        assert status == 0, errors
        assert "already finished" not in errors
        maps.append(np.stack([read(out / "scene_labels.tif", band) for band in (1, 2)]))
    assert (maps[0] == maps[2]).all() and (maps[0] != maps[1]).any()
