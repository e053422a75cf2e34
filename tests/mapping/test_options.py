"""The options of the command and of sgovss.segment are the same."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, fields
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import sgovss
from sgovss.errors import InputError
from sgovss.inference.rejection import Rejection
from sgovss.mapping.options import SegmentOptions
from tests.mapping.conftest import PIXELS, WORDS

_ARGUMENTS = {"input": "source", "vocabulary": "words", "output": "output"}


def test_every_flag_is_a_keyword_with_the_same_default():
    parser = import_module("sgovss.commands.segment")._parser()
    argv = ["--onnx", "a", "--input", "b", "--vocabulary", "c", "--output", "d"]
    found = vars(parser.parse_args(argv))
    removed = {"processes", "num_machines", "machine_rank", "dist_url"}
    assert set(found) - set(_ARGUMENTS) - removed == {field.name for field in fields(SegmentOptions)}
    expected = asdict(SegmentOptions())
    assert {name: found[name] or None for name in expected if name != "onnx"} == {
        name: value or None for name, value in expected.items() if name != "onnx"
    }
    for name in expected:
        assert f"``{name}``" in sgovss.segment.__doc__, f"{name} is not in help(sgovss.segment)"


def test_every_option_is_on_the_page_about_maps(checkout):
    page = (checkout / "docs" / "map_an_area.md").read_text(encoding="utf-8")
    table = page.partition("## All options")[2].partition("\n## ")[0]
    for name in (field.name for field in fields(SegmentOptions)):
        assert f"`--{name.replace('_', '-')}`" in table, name
    named = {word.strip("`,;") for word in table.split() if word.startswith("`--")}
    assert len(named) == len(fields(SegmentOptions))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"bands": (4, 3, 2)}, {"bands": "4,3,2"}),
        ({"bands": ["red", "green", "blue"]}, {"bands": "red,green,blue"}),
        ({"stretch": (2, 98.5)}, {"stretch": "2,98.5"}),
        ({"bounds": [7.1, 50, 7.2, 51]}, {"bounds": "7.1,50,7.2,51"}),
        ({"background": ["ground", "soil"]}, {"background": "ground|soil"}),
        ({"asset": ["red", "green", "blue"]}, {"asset": "red,green,blue"}),
        ({"views": ["turns", 1, 1.5]}, {"views": "turns,1,1.5"}),
        ({"no_data": 0}, {"no_data": "0"}),
        ({"no_data": np.float32(-9999)}, {"no_data": "-9999.0"}),
        ({"min_area": 100}, {"min_area": "100"}),
        ({"gsd": np.float64(0.5)}, {"gsd": 0.5}),
        ({"aoi": Path("a.gpkg")}, {"aoi": "a.gpkg"}),
        ({"opts": {"SEED": 1, "TEST.VIEWS": ["turns"]}}, {"opts": ("SEED", "1", "TEST.VIEWS", "['turns']")}),
        ({"opts": ["SEED", 1]}, {"opts": ("SEED", "1")}),
        ({"shared_folder": False}, {"shared_folder": "no"}),
        ({"polygons": True}, {"polygons": True}),
        ({"polygons": "fgb"}, {"polygons": "fgb"}),
        ({"aoi": None, "overlap": 0}, {"overlap": 0.0}),
    ],
)
def test_values_of_python_stand_for_texts_of_the_command(value, text):
    assert SegmentOptions.of(value) == SegmentOptions(**text)


def test_without_the_libraries_for_rasters_pictures_are_segmented(predictor, photo, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "rasterio" else find(name))
    assert np.array_equal(
        sgovss.segment(photo, WORDS, predictor=predictor).labels,
        sgovss.segment(PIXELS, WORDS, predictor=predictor).labels,
    )
    for options in ({"polygons": True}, {"gsd": 0.3}, {"mosaic": True}):
        with pytest.raises(InputError, match=rf"--{next(iter(options))} is for rasters, which need further libraries"):
            sgovss.segment(photo, WORDS, predictor=predictor, **options)


@pytest.mark.parametrize(
    ("given", "flags"),
    [({}, []), ({"overlap": 0.0}, ["--overlap"]), ({"gsd": 0.0, "edges": False}, []), ({"bands": ""}, ["--bands"])],
)
def test_options_for_rasters_that_are_given_are_named(given, flags):
    assert SegmentOptions(**given).given_for_rasters() == flags


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"bands": "4,3,2"}, {"bands": (4, 3, 2)}),
        ({"stretch": "1,99"}, {"stretch": (1, 99)}),
        ({"stretch": "0..3000"}, {"stretch_range": ((0, 3000),)}),
        ({"no_data": "7"}, {"no_data": 7}),
        ({"fit_gcps": True}, {"fit_gcps": True}),
        ({"gsd": 0.3}, {"gsd": 0.3}),
        ({"aoi": __file__}, {"aoi": __file__}),
        ({"min_area": "50"}, {"min_area": 50, "min_area_in_pixels": False}),
        ({"min_area": "50px"}, {"min_area": 50, "min_area_in_pixels": True}),
        ({"confidence": True}, {"confidence": True}),
        ({"probabilities": True}, {"probabilities": True}),
        ({"polygons": "fgb"}, {"polygons": "fgb"}),
        ({"polygons": True, "simplify": 0.5}, {"simplify": 0.5}),
        ({"polygons": True, "square": "building,roof"}, {"square_names": ("building", "roof")}),
        ({"segments": __file__}, {"segments": __file__}),
        ({"edges": True}, {"edges": True}),
        ({"cache": "cache"}, {"cache": "cache"}),
        ({"restart": True}, {"restart": True}),
        ({"overlap": 0.4}, {"overlap": 0.4}),
        ({"threshold": 0.2, "background": "ground"}, {"rejection": Rejection(0.2, ("ground",))}),
    ],
)
def test_every_option_for_rasters_reaches_them(given, expected):
    pytest.importorskip("rasterio")
    scene = SegmentOptions(**given).scene()
    assert {name: getattr(scene, name) for name in expected} == expected
