"""SceneMapper from Python: options are checked, and the result is read from the files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sgovss.errors import InputError
from sgovss.export.onnx_predictor import ExportedModel
from sgovss.inference.predictor import Predictor
from sgovss.label_ids import no_class_id
from sgovss.rasters.options import SceneOptions, Stretch, parse_bands, parse_min_area, parse_stretch
from sgovss.rasters.scene import SceneMapper

from .conftest import SMALL, UTM, WORDS, read, with_options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bands": (1, 2)}, "--bands: '1,2' is not 3 numbers"),
        ({"stretch": (2.0,)}, "--stretch: '2' is not 2 numbers"),
        ({"stretch": (98, 2)}, "--stretch: '98,2' must be two rising"),
        ({"stretch": (2, 101)}, "--stretch: '2,101' must be two rising"),
        ({"no_data": float("nan")}, "--no-data: nan is no value to give; NaN is always left out"),
        ({"no_data": float("inf")}, "--no-data: inf is no value"),
        ({"no_data": -float("inf")}, "--no-data: -inf is no value"),
        ({"no_data": "zero"}, "--no-data: 'zero' is neither auto"),
        ({"gsd": -0.3}, "--gsd: -0.3 is not a distance"),
        ({"gsd": float("nan")}, "--gsd: nan is not a distance"),
        ({"overlap": 1.0}, "--overlap: 1 is not from 0 to 0.9"),
        ({"overlap": -0.1}, "--overlap: -0.1 is not"),
        ({"min_area": -1}, "--min-area: '-1' is neither"),
        ({"min_area": float("nan")}, "--min-area: 'nan' is neither"),
        ({"aoi": Path("nowhere.gpkg")}, "--aoi nowhere.gpkg: no such file"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        SceneOptions(**options)


def test_options_as_a_user_types_them():
    assert parse_bands("4,3,2") == (4, 3, 2) and parse_bands(None) is None
    assert parse_stretch("2,98.5") == Stretch((2, 98.5)) and parse_stretch(None) == Stretch()
    assert parse_min_area("50px") == (50, True)
    assert parse_min_area("27") == (27, False)
    assert parse_min_area(None) == (0, False)


def test_only_a_model_with_an_encoder_can_fill_a_cache(tmp_path):
    class Exported:
        model = ExportedModel(run=None, text_embedder=None, view=None, divisibility=32)

    with pytest.raises(InputError, match="--cache stores encoded windows"):
        SceneMapper(Exported(), WORDS, SceneOptions(cache=tmp_path))


@pytest.fixture
def small(predictor) -> Predictor:
    """The model with small windows."""
    return with_options(predictor, SMALL)


def test_the_result_is_read_from_the_files(small, write_raster, scene_pixels, tmp_path):
    pixels = np.where(scene_pixels == 200, 201, scene_pixels)
    pixels[:, :50] = 200
    path, target = write_raster(pixels, nodata=200, **UTM), tmp_path / "out" / "county"
    segmentation = SceneMapper(small, WORDS, SceneOptions(confidence=True))(path, target)
    stored = read(segmentation.files["labels"])
    assert segmentation.labels.dtype == np.int64
    assert (segmentation.labels[:50] == no_class_id(4)).all() and (stored[:50] == 200).all()
    assert (segmentation.labels[50:] == stored[50:]).all()
    scores = segmentation.scores
    assert scores.dtype == np.float32 and np.isnan(scores[:50]).all() and (scores[50:] <= 1).all()
    content = json.loads((tmp_path / "out" / "county_shares.json").read_text())
    assert (segmentation.shares, segmentation.areas) == (content["shares"], content["square_metres"])
    assert "WGS 84 / UTM zone 32N" in segmentation.georeference.crs
    assert segmentation.georeference.transform == (0.3, 0, 500_000, 0, -0.3, 5_300_000)
    with Image.open(segmentation.files["overlay"]) as overlay:
        assert np.array_equal(np.asarray(overlay), segmentation.overlay())
    copies = segmentation.save(tmp_path / "copy", "map")
    assert sorted(path.name for path in copies.values()) == [
        "map_labels.qml",
        "map_labels.tif",
        "map_labels.tif.aux.xml",
        "map_overlay.png",
        "map_shares.json",
    ]
    assert (read(copies["labels"]) == stored).all()
    again = SceneMapper(small, WORDS, SceneOptions(confidence=True))(path, target)
    assert (again.shares, again.areas, again.facts) == (segmentation.shares, segmentation.areas, segmentation.facts)
    assert (again.labels == segmentation.labels).all()


def test_scores_that_were_not_kept_are_none(small, write_raster, scene_pixels, tmp_path):
    segmentation = SceneMapper(small, WORDS)(str(write_raster(scene_pixels)), f"{tmp_path}/out/scene")
    assert segmentation.scores is None
    assert segmentation.areas is None and segmentation.georeference is None


def test_one_format_needs_a_library(monkeypatch):
    monkeypatch.setattr("sgovss.rasters.options.find_spec", lambda name: None)
    SceneOptions(polygons="gpkg")
    with pytest.raises(InputError, match=r"--polygons parquet: needs a library; pip install 'sgovss\[parquet\]'"):
        SceneOptions(polygons="parquet")


@pytest.mark.parametrize("ranges", [((0, 1), (0, 1)), ((5, 1),), ((0, 1), (0, 1), (1, 1)), ((0, float("inf")),), ()])
def test_ranges_of_a_stretch_rise_and_are_one_or_three(ranges):
    with pytest.raises(InputError, match=r"--stretch: '.*' is not"):
        SceneOptions(stretch_range=ranges)
