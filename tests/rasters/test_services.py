"""Descriptions of map servers, object storage, Sentinel-2 folders and variables of data cubes: a scene, or one line."""

from __future__ import annotations

import pytest
import rasterio.shutil
import rasterio.warp
from rasterio.windows import Window

from sgovss.errors import InputError
from sgovss.rasters.gdal import gdal_environment
from sgovss.rasters.inputs import InputOptions, find_inputs, is_scene
from sgovss.rasters.source import RasterSource
from sgovss.rasters.tiles import describe_tiles, side_of_tiles

from .conftest import UTM, read

TMS = """<GDAL_WMS>
  <Service name="TMS"><ServerUrl>{url}/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service>
  <DataWindow>
    <UpperLeftX>-20037508.34</UpperLeftX><UpperLeftY>20037508.34</UpperLeftY>
    <LowerRightX>20037508.34</LowerRightX><LowerRightY>-20037508.34</LowerRightY>
    <TileLevel>18</TileLevel><TileCountX>1</TileCountX><TileCountY>1</TileCountY><YOrigin>top</YOrigin>
  </DataWindow>
  <Projection>EPSG:3857</Projection><BlockSizeX>256</BlockSizeX><BlockSizeY>256</BlockSizeY><BandsCount>3</BandsCount>
</GDAL_WMS>"""
AROUND = (9.0, 47.85, 9.001, 47.8505)
GRANULE = """<n1:Level-1C_Tile_ID xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/S2_PDI_Level-1C_Tile_Metadata.xsd">
<n1:Geometric_Info><Tile_Geocoding metadataLevel="Brief">
  <HORIZONTAL_CS_NAME>WGS84 / UTM zone 32N</HORIZONTAL_CS_NAME><HORIZONTAL_CS_CODE>EPSG:32632</HORIZONTAL_CS_CODE>
  <Size resolution="10"><NROWS>200</NROWS><NCOLS>260</NCOLS></Size>
  <Geoposition resolution="10"><ULX>600000</ULX><ULY>5300040</ULY><XDIM>10</XDIM><YDIM>-10</YDIM></Geoposition>
</Tile_Geocoding></n1:Geometric_Info></n1:Level-1C_Tile_ID>"""
SENTINEL = {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 600_000, 0, -10, 5_300_040)}
TILE = "S2A_OPER_{}_L1C_TL_EPA__20260101T100000_A000001_T32TQM"


def means(name: str) -> list[float]:
    with gdal_environment(), RasterSource(name, ranges=[(0, 255)]) as source:
        pixels, _ = source.read(Window(0, 0, source.width, source.height), (source.height, source.width))
    return pixels.mean(axis=(0, 1)).tolist()


@pytest.fixture
def tms(server, tmp_path):
    """A function that writes the description of a map server."""

    def write(folder: str) -> str:
        (tmp_path / "aerial.xml").write_text(TMS.format(url=f"{server.url}/{folder}"))
        return str(tmp_path / "aerial.xml")

    return write


def test_the_description_of_a_map_server(demo, tms):
    name = tms("tiles")
    assert is_scene(name)
    status, out, errors = demo(name, "--bounds", ",".join(map(str, AROUND)))
    assert status == 0, errors
    assert (read(out / "aerial_labels.tif") < 4).all()


@pytest.mark.parametrize(
    ("gsd", "latitude", "level"),
    # Zoom 17 has 1.194 m per pixel at the equator, and half of it at 60 degrees.
    [
        (1.194, 0, 17),
        (1.0, 0, 17),
        (0.8, 0, 18),
        (0.6, 60, 17),
        (0.6, -60, 17),
        (1.2, 60, 16),
        (1e-3, 0, 24),
        (1e6, 0, 0),
    ],
)
def test_the_level_of_tiles_is_that_of_the_wanted_pixel_size(gsd, latitude, level):
    described = describe_tiles("xyz:https://host/{z}/{x}/{y}.png", gsd, latitude)
    assert f"<TileLevel>{level}</TileLevel>" in described


def test_a_map_server_that_lacks_tiles_is_one_line(tms, tmp_path):
    scene = next(iter(find_inputs([tms("nothing")], tmp_path / "out", InputOptions(bounds=AROUND))))
    with pytest.raises(InputError, match=r"404.*the server did not send them all; try again later") as caught:
        means(scene)
    assert "<" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.fixture
def storage(server, write_raster, scene_pixels, monkeypatch):
    """Object storage on loopback with the raster ``county.tif`` in a bucket."""
    path = write_raster(scene_pixels, tiled=True, blockxsize=64, blockysize=64, **UTM)
    server.put("bucket/a/county.tif", path.read_bytes())
    for key, value in {
        "AWS_S3_ENDPOINT": server.url.removeprefix("http://"), "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE",
        "CPL_AWS_AUTODETECT_EC2": "NO", "AWS_SHARED_CREDENTIALS_FILE": "none",
    }.items():  # fmt: skip
        monkeypatch.setenv(key, value)
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(key, raising=False)


@pytest.mark.parametrize("name", ["/vsis3/bucket/a/county.tif", "s3://bucket/a/county.tif"])
def test_object_storage(storage, scene_pixels, tmp_path, monkeypatch, name):
    with gdal_environment(), pytest.raises(InputError, match=r"AWS_SECRET_ACCESS_KEY and AWS_NO_SIGN_REQUEST"):
        RasterSource(name)
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "YES")
    assert list(map(str, find_inputs([name], tmp_path / "out").values())) == ["county"]
    assert means(name) == pytest.approx(scene_pixels.mean(axis=(1, 2)))
    with (
        gdal_environment(),
        pytest.raises(InputError, match=r"none\.tif: not a raster that can be read \(.*404") as caught,
    ):
        RasterSource(name.replace("county", "none"))
    assert "<" not in str(caught.value)


@pytest.fixture
def safe(write_raster, scene_pixels, tmp_path):
    """A made-up Sentinel-2 folder: blue, green and red as JPEG 2000 files, and the description of their granule."""
    granule = tmp_path / "S2A_MSIL1C_20260101T100000.SAFE" / "GRANULE" / f"{TILE.format('MSI')}_N02.01"
    (granule / "IMG_DATA").mkdir(parents=True)
    for band, name in enumerate(("B04", "B03", "B02")):
        file = granule / "IMG_DATA" / f"{TILE.format('MSI')}_{name}.jp2"
        options = {"QUALITY": "100", "REVERSIBLE": "YES", "driver": "JP2OpenJPEG"}
        write_raster(scene_pixels[band : band + 1].astype("uint16"), name=file, **options, **SENTINEL)
    (granule / f"{TILE.format('MTD')}.xml").write_text(GRANULE)
    return tmp_path / "S2A_MSIL1C_20260101T100000.SAFE"


def test_the_bands_of_a_sentinel_2_folder(demo, safe, scene_pixels, tmp_path):
    scene = next(iter(find_inputs([str(safe)], tmp_path / "out", InputOptions(stack=True))))
    assert means(scene) == pytest.approx(scene_pixels.mean(axis=(1, 2)))
    status, out, errors = demo(safe, "--stack", "--gsd", "10")
    assert status == 0, errors
    with rasterio.open(out / f"{safe.name}_labels.tif") as labels:
        assert (labels.crs, labels.transform) == (SENTINEL["crs"], SENTINEL["transform"])


def test_the_description_of_a_sentinel_2_granule(safe, scene_pixels):
    name = str(next(safe.rglob("*.xml")))
    assert is_scene(name)
    with (
        gdal_environment(),
        pytest.raises(InputError, match=r"holds \d rasters; give the name of one: SENTINEL2_L1C_TILE"),
    ):
        RasterSource(name)
    assert means(f"SENTINEL2_L1C_TILE:{name}:10m") == pytest.approx(scene_pixels.mean(axis=(1, 2)))


@pytest.mark.parametrize("name", ["NETCDF:{}:Band2", 'NETCDF:"{}":Band2', 'HDF5:"{}"://Band2'])
def test_a_variable_of_a_data_cube(write_raster, scene_pixels, tmp_path, name):
    rasterio.shutil.copy(write_raster(scene_pixels, **UTM), tmp_path / "cube.nc", driver="netCDF", FORMAT="NC4")
    assert means(name.format(tmp_path / "cube.nc")) == pytest.approx([scene_pixels[1].mean()] * 3)
    missing = name.format(tmp_path / "cube.nc").replace("Band2", "Band9")
    with gdal_environment(), pytest.raises(InputError, match="not a raster that can be read"):
        RasterSource(missing)


@pytest.mark.parametrize("text", ["<a><b/></a>", "<GDAL_WMS><Service/></GDAL_WMS>", "", "<n1:Level-1C_User_Product/>"])
def test_other_descriptions_are_one_line(tmp_path, text):
    (tmp_path / "other.xml").write_text(text)
    with gdal_environment(), pytest.raises(InputError, match=r"other\.xml: not a raster that can be read") as caught:
        RasterSource(tmp_path / "other.xml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("longitude", "latitude"), [(9.0, 47.85), (-71.3, -33.1)])
def test_the_size_of_tiles_is_that_of_one_at_the_place(monkeypatch, longitude, latitude):
    asked = []

    def open_tile(name: str) -> None:
        asked.append([int(number) for number in name.rsplit("/", 3)[1:]])
        raise rasterio.errors.RasterioIOError(name)

    monkeypatch.setattr("sgovss.rasters.tiles.rasterio.open", open_tile)
    for y in ("{y}", "{-y}"):
        assert side_of_tiles(f"xyz:https://host.example/{{z}}/{{x}}/{y}", 0.3, longitude, latitude) == 256
    (level, *tile), (_, _, from_below) = asked
    (easting,), (northing,) = rasterio.warp.transform("EPSG:4326", "EPSG:3857", [longitude], [latitude])
    side = 2 * 20_037_508.342789244 / 2**level
    assert tile[1] + from_below == 2**level - 1
    assert tile == [int(easting / side + 2**level / 2), int(2**level / 2 - northing / side)]
