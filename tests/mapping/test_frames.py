"""Results as tables, arrays and pictures, and arrays with coordinates as sources."""

from __future__ import annotations

import importlib
import sys
import warnings

import matplotlib
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin

import sgovss
from sgovss.errors import InputError
from tests.mapping.conftest import PIXELS, UTM, WORDS

pytest.importorskip("geopandas", reason="needs the extra 'notebook'")
xarray = pytest.importorskip("xarray", reason="needs the extra 'notebook'")
rioxarray = pytest.importorskip("rioxarray", reason="needs the extra 'notebook'")
matplotlib.use("agg")


@pytest.fixture
def scene(predictor, write_scene, tmp_path):
    return sgovss.segment(write_scene(), WORDS, tmp_path / "out", predictor=predictor, confidence=True)


def test_polygons_are_a_coverage_with_the_areas_of_the_classes(scene):
    frame = scene.to_geodataframe()
    assert frame.crs == "EPSG:32632" and frame.is_valid.all()
    assert [*frame.columns] == ["id", "class", "class_id", "area_m2", "score", "source", "geometry"]
    assert set(frame["source"]) == {"scene.tif"} and frame["score"].between(0, 1).all()
    sums = frame.groupby("class")["area_m2"].sum()
    for name, area in scene.areas.items():
        assert sums.get(name, 0) == pytest.approx(area, rel=1e-6)
    simple = scene.to_geodataframe(simplify=1.0)
    assert shapely.get_num_coordinates(simple.geometry).sum() < shapely.get_num_coordinates(frame.geometry).sum() / 2
    assert scene.to_geodataframe(simplify=np.float32(1)).equals(simple)
    whole = shapely.box(500_000, 5_300_000 - 27, 500_036, 5_300_000)
    for each in (frame, simple):
        assert shapely.coverage_is_valid(each.geometry.values)
        assert shapely.union_all(each.geometry.values).equals(whole)


def test_polygons_of_a_photograph_are_in_pixels(predictor):
    result = sgovss.segment(PIXELS, WORDS, predictor=predictor)
    frame = result.to_geodataframe()
    assert frame.crs is None and frame.area.sum() == PIXELS.shape[0] * PIXELS.shape[1]
    for row in frame.itertuples():
        point = row.geometry.representative_point()
        assert result.labels[int(point.y), int(point.x)] == row.class_id
    with pytest.raises(InputError, match="not georeferenced, so metres are not known; leave out simplify"):
        result.to_geodataframe(simplify=1)
    for wrong in (-1, float("nan"), "much"):
        with pytest.raises(InputError, match=r"simplify=.* is not a distance; give metres"):
            result.to_geodataframe(simplify=wrong)


def test_class_ids_are_an_array_with_coordinates(scene, predictor):
    array = scene.to_xarray()
    assert array.dims == ("y", "x") and np.array_equal(array.values, scene.labels)
    assert array.rio.crs == "EPSG:32632" and array.rio.transform() == UTM["transform"]
    assert array.attrs["classes"] == scene.classes and array.attrs["flag_values"] == [0, 1, 2, 3, 4]
    assert array.attrs["flag_meanings"] == "house_roof asphalt meadow lake sand"
    assert set(array.coords) == {"x", "y", "spatial_ref"}
    # The statistics of the file are not those of a part that the user may cut out.
    assert array.attrs.keys() == {"AREA_OR_POINT", "_FillValue", "classes", "flag_values", "flag_meanings"}
    inside = sgovss.segment(PIXELS, WORDS, predictor=predictor).to_xarray()  # its folder is gone already
    assert inside.shape == (90, 120) and int(inside.max()) < 5


@pytest.mark.parametrize("form", ["as read", "bands last", "with time", "float", "upside down", "lazy"])
def test_arrays_with_coordinates_keep_their_place(predictor, write_scene, tmp_path, form):
    expected = sgovss.segment(write_scene(), WORDS, predictor=predictor)
    array = rioxarray.open_rasterio(tmp_path / "scene.tif", chunks=None)
    source = {
        "as read": lambda: array.load(),
        "bands last": lambda: array.transpose("y", "x", "band"),
        "with time": lambda: array.expand_dims("time"),
        "float": lambda: array.astype("float32"),
        "upside down": lambda: array.isel(y=slice(None, None, -1)),
        "lazy": lambda: array,
    }[form]()
    options = {"stretch": "0..255"} if form == "float" else {}
    result = sgovss.segment(source, WORDS, predictor=predictor, **options)
    assert np.array_equal(result.labels, expected.labels) and result.areas == pytest.approx(expected.areas)
    assert rasterio.crs.CRS.from_wkt(result.georeference.crs) == "EPSG:32632"
    bounds = result.to_xarray().rio.bounds()
    assert bounds == pytest.approx((500_000, 5_300_000 - 27, 500_036, 5_300_000))


def test_a_turned_array_keeps_its_place_and_a_mirrored_one_is_mirrored_back(predictor, write_scene):
    turned = UTM["transform"] @ rasterio.Affine.rotation(150)
    path = write_scene(transform=turned)
    expected = sgovss.segment(path, WORDS, predictor=predictor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rioxarray, that there are no coordinates
        array = rioxarray.open_rasterio(path)
        mirrored = array.isel(y=slice(None, None, -1)).rio.write_transform(turned @ rasterio.Affine(1, 0, 0, 0, -1, 90))
        for source in (array, mirrored):
            result = sgovss.segment(source, WORDS, predictor=predictor)
            assert np.array_equal(result.labels, expected.labels)
            with rasterio.open(result.files["labels"]) as raster:
                assert raster.transform.almost_equals(turned, 1e-6)


def test_no_data_of_an_array_stays_without_a_class(predictor, write_scene, tmp_path):
    pixels = PIXELS.copy()
    pixels[:, :40] = 7
    array = rioxarray.open_rasterio(write_scene(pixels, nodata=7))
    for source in (array, rioxarray.open_rasterio(tmp_path / "scene.tif", masked=True)):
        result = sgovss.segment(source, WORDS, predictor=predictor, stretch="0..255")
        assert (result.labels[:, :40] == 255).all() and (result.labels[:, 40:] < 5).mean() > 0.99


def test_wrong_arrays_with_coordinates_are_one_line(predictor):
    numbers = np.zeros((3, 8, 8), np.uint8)
    for array, message in (
        (xarray.DataArray(numbers, dims=("a", "b", "c")), r"name them \(band, y, x\)"),
        (xarray.DataArray(numbers.astype(complex), dims=("band", "y", "x")), "complex128, not numbers"),
        (xarray.DataArray(numbers.astype(str), dims=("band", "y", "x")), "not numbers"),
        (xarray.DataArray(numbers[:, :0], dims=("band", "y", "x")), "has no pixel"),
        (xarray.DataArray(numbers[None].repeat(2, 0), dims=("time", "band", "y", "x")), "choose one"),
        (xarray.Dataset({"a": ("x", [1])}), "cannot segment a Dataset; give a file"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            sgovss.segment(array, WORDS, predictor=predictor)
        assert "\n" not in str(caught.value)


def test_a_notebook_shows_picture_and_classes(predictor, scene):
    photograph = sgovss.segment(PIXELS, "<b>roof</b>, sand", predictor=predictor)
    for result, area in ((scene, True), (photograph, False)):
        page = result._repr_html_()
        assert page.startswith('<img alt="classes" src="data:image/png;base64,')
        assert result._repr_png_().startswith(b"\x89PNG")
        assert ("m²" in page) is area and (str(scene.folder) in page) is area
    assert "<b>" not in page and "&lt;b&gt;roof" in page


def test_a_plot_has_the_coordinates_of_the_image(predictor, scene):
    axes = scene.plot()
    assert axes.get_xlim() == (500_000, 500_036) and axes.get_ylim() == (5_300_000 - 27, 5_300_000)
    named = [text.get_text().rpartition(" ")[0].rpartition(" ")[0] for text in axes.get_legend().get_texts()]
    largest_first = sorted(scene.shares, key=lambda name: scene.shares[name], reverse=True)
    assert len(named) > 1 and named == [name for name in largest_first if scene.shares[name]]
    anchor = axes.get_legend().get_bbox_to_anchor().transformed(axes.transAxes.inverted())
    assert (anchor.x0, anchor.y0) == pytest.approx((1, 0.5))  # beside the image
    figure = matplotlib.figure.Figure()
    own = figure.subplots()
    assert sgovss.segment(PIXELS, WORDS, predictor=predictor).plot(alpha=1, ax=own) is own
    assert own.get_ylim()[0] > own.get_ylim()[1]  # rows of pixels from top to bottom


def test_an_array_needs_the_libraries_that_write_it(predictor, monkeypatch):
    monkeypatch.setitem(sys.modules, "rioxarray", None)
    array = xarray.DataArray(np.zeros((3, 8, 8), np.uint8), dims=("band", "y", "x"))
    with pytest.raises(InputError, match=r"an xarray\.DataArray needs rioxarray: pip install 'sgovss\[notebook\]'"):
        sgovss.segment(array, WORDS, predictor=predictor)


@pytest.mark.parametrize(("name", "use"), [("geopandas", "to_geodataframe"), ("rioxarray", "to_xarray")])
def test_a_missing_library_is_named(scene, monkeypatch, name, use):
    load = importlib.import_module

    def without(module, *more):
        if module == name:
            raise ImportError(module)
        return load(module, *more)

    monkeypatch.setattr("importlib.import_module", without)
    with pytest.raises(InputError, match=rf"{use} needs {name}: pip install 'sgovss\[notebook\]'"):
        getattr(scene, use)()


def test_a_raster_in_degrees_and_one_that_is_turned(predictor, write_scene):
    degrees = sgovss.segment(
        write_scene(crs="EPSG:4326", transform=from_origin(8, 50, 4e-6, 3e-6)), WORDS, predictor=predictor
    )
    assert degrees.to_geodataframe().crs == "EPSG:4326" and degrees.to_xarray().rio.crs == "EPSG:4326"
    turned = UTM["transform"] @ rasterio.Affine.rotation(30)
    result = sgovss.segment(write_scene(transform=turned), WORDS, predictor=predictor)
    assert result.to_geodataframe().area.sum() == pytest.approx(sum(result.areas.values()), rel=2e-3)
    assert result.plot().get_xlim()[1] > 119  # in pixels
