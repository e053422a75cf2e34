"""Georeference of any kind reaches the outputs as GDAL's own translation has it, or is fitted."""

from __future__ import annotations

import json

import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.rpc import RPC
from rasterio.transform import RPCTransformer

from sgovss.errors import InputError
from sgovss.rasters import georeference
from sgovss.rasters.georeference import RasterGeoreference

from .conftest import UTM, read

UTM32 = CRS.from_epsg(32632)
ROTATED = Affine(0.29, 0.05, 500_000, 0.05, -0.29, 5_300_000)
ZEROS = [0.0] * 16


def points_of(transform: Affine, height: int, width: int, bend: float = 0.0) -> list[GroundControlPoint]:
    """Nine points of a transform; ``bend`` moves the middle one by as many pixels."""
    result = []
    for row in (0, height / 2, height):
        for column in (0, width / 2, width):
            moved = column + bend * (row == height / 2 and column == width / 2)
            x, y = transform * (moved, row)
            result.append(GroundControlPoint(row=row, col=column, x=x, y=y, z=3.0))
    return result


@pytest.fixture
def coefficients() -> RPC:
    """A camera that looks straight down: longitude and latitude are linear in columns and rows."""
    return RPC(
        height_off=300.0, height_scale=100.0, lat_off=47.85, lat_scale=0.00027, long_off=9.0, long_scale=0.00052,
        line_off=100.0, line_scale=100.0, samp_off=130.0, samp_scale=130.0,
        line_num_coeff=[0.0, 0.0, -1.0, *ZEROS, 0.0], line_den_coeff=[1.0, 0.0, 0.0, *ZEROS, 0.0],
        samp_num_coeff=[0.0, 1.0, 0.0, *ZEROS, 0.0], samp_den_coeff=[1.0, 0.0, 0.0, *ZEROS, 0.0],
    )  # fmt: skip


@pytest.fixture
def write_kinds(write_raster, scene_pixels, coefficients):
    """A function that writes a scene with a georeference of one kind."""

    def write(kind):
        height, width = scene_pixels.shape[1:]
        if kind == "affine":
            return write_raster(scene_pixels, **UTM)
        if kind == "rotated":
            return write_raster(scene_pixels, crs=UTM32, transform=ROTATED)
        if kind == "no crs":
            return write_raster(scene_pixels, transform=UTM["transform"])
        if kind == "rpcs":
            return write_raster(scene_pixels, rpcs=coefficients)
        bend = 2.0 if kind == "bent gcps" else 0.0
        path = write_raster(scene_pixels)
        with rasterio.open(path, "r+") as raster:
            raster.gcps = points_of(ROTATED, height, width, bend), UTM32
        return path

    return write


KINDS = ["affine", "rotated", "no crs", "gcps", "bent gcps", "rpcs"]


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_have_what_gdal_translate_gives(demo, write_kinds, tmp_path, caplog, kind):
    path = write_kinds(kind)
    rasterio.shutil.copy(path, tmp_path / "translated.tif", driver="GTiff")
    status, out, errors = demo(path, "--probabilities")
    assert status == 0, errors
    with rasterio.open(tmp_path / "translated.tif") as expected:
        for name in ("labels", "probabilities"):
            with rasterio.open(out / f"scene_{name}.tif") as raster:
                assert (raster.crs, raster.transform) == (expected.crs, expected.transform)
                assert [vars(p) | {"id": 0} for p in raster.gcps[0]] == [vars(p) | {"id": 0} for p in expected.gcps[0]]
                assert raster.gcps[1] == expected.gcps[1]
                assert (raster.rpcs is None) == (expected.rpcs is None)
                assert raster.rpcs is None or raster.rpcs.to_gdal() == expected.rpcs.to_gdal()
    assert ("--fit-gcps" in caplog.text) == (kind in ("gcps", "bent gcps", "rpcs"))
    assert ("because it has no coordinate reference system" in caplog.text) == (kind == "no crs")


@pytest.mark.parametrize(("kind", "error"), [("gcps", 0), ("bent gcps", 16 / 9), ("rpcs", 0)])
def test_fitting(demo, write_kinds, coefficients, caplog, kind, error):
    path = write_kinds(kind)
    status, out, errors = demo(path, "--fit-gcps", "--polygons", "--min-area", "20")
    assert status == 0, errors
    with rasterio.open(out / "scene_labels.tif") as raster:
        transform, crs = raster.transform, raster.crs
        assert not raster.gcps[0] and raster.rpcs is None
    told = float(caplog.text.split("it is up to ")[1].split(" pixels")[0])
    assert told == pytest.approx(error, abs=0.06)
    if kind == "rpcs":
        with RPCTransformer(coefficients, RPC_HEIGHT=300) as across:
            expected = [across.xy(row, column, offset="ul") for row, column in ((0, 0), (150, 40))]
        found = [transform * (column, row) for row, column in ((0, 0), (150, 40))]
        assert crs == CRS.from_epsg(4326) and np.allclose(found, expected, atol=1e-7)
    else:
        assert crs == UTM32
        # The mean of the points moves by a ninth of the middle one's bend.
        bend = 2 / 9 if error else 0
        assert np.allclose(transform * (130 - bend, 100), ROTATED * (130, 100), atol=0.02)
    areas = json.loads((out / "scene_shares.json").read_text())["square_metres"]
    assert sum(areas.values()) > 0
    assert pyogrio.read_info(out / "scene_polygons.gpkg")["crs"] is not None


def test_the_scale_for_the_model_follows_control_points(demo, write_kinds):
    status, out, _ = demo(write_kinds("gcps"))
    facts = json.loads((out / "scene_shares.json").read_text())["facts"]
    assert status == 0 and facts["ground sample distance"].startswith("0.294 m")
    assert facts["coordinates"] == "9 ground control points"


def test_points_that_nothing_fits(write_raster, scene_pixels):
    line = [GroundControlPoint(row=i, col=i, x=500_000 + i, y=5_300_000 - i) for i in range(4)]
    for points, crs in ((line, UTM32), (points_of(ROTATED, 200, 260), None)):
        path = write_raster(scene_pixels)
        with rasterio.open(path, "r+") as raster:
            raster.gcps = points, crs or CRS()
        with rasterio.open(path) as raster:
            found = RasterGeoreference.of(raster)
            assert found.ground is None and "are copied to the outputs" in found.remark
            with pytest.raises(InputError, match=r"--fit-gcps: .*no transform fits its [49] ground control points"):
                RasterGeoreference.of(raster, fit=True)


@pytest.mark.parametrize(
    ("positions", "places", "fitted"),
    [
        ([(0, 0), (9, 0), (0, 9)], [(0, 0), (1, 0), (0, 1)], True),
        ([(0, 0), (9, 9)], [(0, 1), (1, 0)], True),  # two points determine a transform that does not rotate
        ([(0, 0), (9, 9), (18, 18)], [(0, 0), (1, 0), (0, 1)], False),
        ([(0, 0), (9, 0), (0, 9)], [(0.1, 0.3), (0.2, 0.6), (0.3, 0.9)], False),
        ([(0, 0), (0, 9)], [(0, 1), (1, 0)], False),
        ([(0, 0), (9, 9)], [(0, 1), (1, 1)], False),
        ([(0, 0)], [(0, 0)], False),
        ([(3, 3)] * 3, [(0, 0)] * 3, False),
    ],
)
def test_points_on_a_line_are_refused(write_raster, scene_pixels, monkeypatch, positions, places, fitted):
    """GDAL finds no transform then, but rasterio returns numbers that happen to be in memory."""
    monkeypatch.setattr(georeference, "from_gcps", lambda _: Affine(2.0, 0, 0, 0, -2.0, 0))
    path = write_raster(scene_pixels)
    with rasterio.open(path, "r+") as raster:
        pairs = zip(positions, places, strict=True)
        raster.gcps = [GroundControlPoint(row=r, col=c, x=x, y=y) for (c, r), (x, y) in pairs], UTM32
    with rasterio.open(path) as raster:
        assert (RasterGeoreference.of(raster).ground is not None) is fitted


def test_an_area_of_interest_needs_a_transform(demo, write_kinds, tmp_path):
    (tmp_path / "a.geojson").write_text(
        '{"type": "Polygon", "coordinates": [[[8.9, 47.8], [9.1, 47.8], [9.1, 47.9], [8.9, 47.9], [8.9, 47.8]]]}'
    )
    path = write_kinds("gcps")
    status, out, errors = demo(path, "--aoi", tmp_path / "a.geojson")
    assert status == 1 and "georeferenced by 9 ground control points; give --fit-gcps too" in errors
    status, out, errors = demo(path, "--aoi", tmp_path / "a.geojson", "--fit-gcps")
    assert status == 0 and (read(out / "scene_labels.tif") < 255).all()


@pytest.mark.parametrize("items", [{"X_DATASET": "lon.tif", "X_BAND": "1", "SRS": "EPSG:4326"}, {"Y_DATASET": "y.nc"}])
def test_geolocation_arrays_are_not_lost_in_silence(demo, write_raster, scene_pixels, tmp_path, caplog, items):
    rasterio.shutil.copy(write_raster(scene_pixels), tmp_path / "swath.vrt", driver="VRT")
    text = (tmp_path / "swath.vrt").read_text()
    entries = "".join(f'<MDI key="{key}">{value}</MDI>' for key, value in items.items())
    arrays = f'<Metadata domain="GEOLOCATION">{entries}</Metadata><VRTRasterBand'
    (tmp_path / "swath.vrt").write_text(text.replace("<VRTRasterBand", arrays, 1))
    assert demo(tmp_path / "swath.vrt", "--gsd", "0.3")[0] == 0
    assert "its geolocation arrays are not read or copied; bring it to a map first, with gdalwarp" in caplog.text
    assert "segmented at its own resolution, because its geolocation arrays are not read" in caplog.text
