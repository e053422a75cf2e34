"""Rasters on servers: read in parts, asked for again when a connection breaks; a clear line if that is in vain."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio.warp
from rasterio.windows import Window

from sgovss.errors import InputError
from sgovss.rasters.gdal import gdal_environment
from sgovss.rasters.inputs import InputOptions, find_inputs
from sgovss.rasters.source import RasterSource

from .conftest import UTM, read

WHOLE = Window(0, 0, 260, 200)


@pytest.fixture
def scene(write_raster, scene_pixels):
    return write_raster(scene_pixels, tiled=True, blockxsize=64, blockysize=64, **UTM)


@pytest.mark.parametrize("prefix", ["", "/vsicurl/"])
def test_a_raster_by_its_url(server, scene, tmp_path, scene_pixels, prefix):
    name = prefix + server.put("a/county.tif", scene.read_bytes())
    assert [str(title) for title in find_inputs([name], tmp_path).values()] == ["county"]
    with gdal_environment(), RasterSource(name) as source:
        assert (source.read(WHOLE, (200, 260))[0] == scene_pixels.transpose(1, 2, 0)).all()
        assert source.name == name and source.identity[0] == name
    assert any(asked != "None" for _, asked in server.asked()) and len(server.asked()) < 12


def test_only_parts_of_a_large_raster_are_read(server, write_raster, tmp_path):
    pixels = np.random.default_rng(0).integers(20, 236, (3, 3000, 3000), dtype=np.uint8)
    path = write_raster(pixels, tiled=True, blockxsize=256, blockysize=256, **UTM)
    url = server.put("large.tif", path.read_bytes())
    with gdal_environment(), RasterSource(url, no_data="declared") as source:
        source.read(Window(0, 0, 256, 256), (256, 256))
    sizes = [
        int(last) - int(first) + 1
        for _, asked in server.asked()
        if asked != "None"
        for first, last in [asked[6:].split("-")]
    ]
    assert sum(sizes) < path.stat().st_size / 8


def test_dropped_connections_are_asked_again(server, scene, scene_pixels):
    url = server.put("dropping.tif", scene.read_bytes())
    with gdal_environment(), RasterSource(url, no_data="declared") as source:
        (server.folder / "drops").write_text("2")
        assert (source.read(WHOLE, (200, 260))[0] == scene_pixels.transpose(1, 2, 0)).all()
    assert (server.folder / "drops").read_text() == "0"


def test_a_server_that_is_gone(demo, server, write_raster):
    pixels = np.random.default_rng(0).integers(20, 236, (3, 1000, 1000), dtype=np.uint8)
    scene = write_raster(pixels, tiled=True, blockxsize=256, blockysize=256, **UTM)
    url = server.put("there.tif", scene.read_bytes())
    with pytest.raises(InputError, match=r"nowhere.tif: not a raster that can be read .*404"), gdal_environment():
        RasterSource(f"{server.url}/nowhere.tif")
    with gdal_environment(), RasterSource(url, no_data="declared") as source:
        (server.folder / "there.tif").unlink()
        with pytest.raises(InputError, match=r"there.tif: pixels are missing .* the server did not send them all"):
            source.read(Window(0, 0, 1000, 1000), (1000, 1000))
    server.stop()
    status, _, errors = demo(f"{server.url}/other.tif")
    assert status == 1 and "other.tif: not a raster that can be read" in errors and "Traceback" not in errors


def item(server, **assets):
    content = {"type": "Feature", "stac_version": "1.0.0", "id": "S2A 32T", "assets": assets}
    return server.put("items/a.json", json.dumps(content).encode())


def test_stac_items(server, write_raster, scene_pixels, tmp_path):
    tiff = "image/tiff; application=geotiff; profile=cloud-optimized"
    for number, name in enumerate(("red", "green", "blue")):
        path = write_raster(scene_pixels[number : number + 1], name=f"{name}.tif", **UTM)
        server.put(f"data/{name}.tif", path.read_bytes())
    server.put("data/visual.tif", write_raster(scene_pixels, **UTM).read_bytes())
    bands = {name: {"href": f"../data/{name}.tif", "type": tiff} for name in ("red", "green", "blue")}
    visual = {"visual": {"href": f"{server.url}/data/visual.tif", "type": tiff}}
    text = {"metadata": {"href": "meta.xml", "type": "application/xml"}}
    url = item(server, **bands, **visual, **text)
    by_default = find_inputs([url], tmp_path)
    assert {name: str(title) for name, title in by_default.items()} == {f"{server.url}/data/visual.tif": "S2A_32T"}
    single = find_inputs([url], tmp_path, InputOptions(asset=("green",)))
    assert list(single) == [f"{server.url}/data/green.tif"]
    several = find_inputs([url], tmp_path, InputOptions(asset=("blue", "red", "green")))
    with gdal_environment(), RasterSource(next(iter(several))) as source:
        assert source.bands == (2, 3, 1)
        assert (source.read(WHOLE, (200, 260))[0] == scene_pixels.transpose(1, 2, 0)).all()
    with pytest.raises(InputError, match=r"--asset: .* has no asset 'nir'; it has red, green, blue, visual, metadata"):
        find_inputs([url], tmp_path, InputOptions(asset=("nir",)))
    with pytest.raises(InputError, match="a STAC item with 3 rasters; choose by --asset among red, green, blue"):
        find_inputs([item(server, **bands)], tmp_path)


def test_local_stac_items_and_other_json(write_raster, scene_pixels, tmp_path):
    write_raster(scene_pixels, **UTM)
    asset = {"href": "./scene.tif", "type": "image/tiff"}
    content = {"type": "Feature", "stac_version": "1.0.0", "id": "x", "assets": {"data": asset}}
    (tmp_path / "item.json").write_text(json.dumps(content))
    assert list(find_inputs([str(tmp_path / "item.json")], tmp_path / "out")) == [str(tmp_path / "scene.tif")]
    for text, message in (("{", "cannot be read as JSON"), ("[]", "no STAC item"), ('{"a": 1}', "no STAC item")):
        (tmp_path / "other.json").write_text(text)
        with pytest.raises(InputError, match=message):
            find_inputs([str(tmp_path / "other.json")], tmp_path / "out")


BOUNDS = (8.999, 49.999, 9.001, 50.001)


@pytest.mark.parametrize(("side", "level"), [(256, 18), (512, 17)])
@pytest.mark.parametrize("row", ["{y}", "{-y}"])
def test_map_tiles(server, tmp_path, row, side, level):
    """The colour of a tile is its address, so every pixel shows which tile it came from."""
    if side == 512:
        (server.folder / "wide").touch()
    url = f"xyz:{server.url}/tiles/{{z}}/{{x}}/{row}.png"
    found = find_inputs([url], tmp_path, InputOptions(bounds=BOUNDS, gsd=0.4))
    assert [str(title) for title in found.values()] == ["127.0.0.1"]
    with gdal_environment(), RasterSource(next(iter(found))) as source:
        # At 50 degrees, a pixel of level 18 is 0.38 m wide; in tiles of 512 pixels it is on level 17.
        assert source.transform.a == pytest.approx(2 * 20037508.342789 / side / 2**level)
        left, top = source.transform * (0.5, 0.5)
        x, y = (int((value + 20037508.342789) / (2 * 20037508.342789) * 2**level) for value in (left, -top))
        pixel = source.read(Window(0, 0, 1, 1), (1, 1))[0][0, 0]
        assert tuple(pixel) == (level, x % 256, (y if row == "{y}" else 2**level - 1 - y) % 256)
        assert source.valid(Window(0, 0, 50, 50)).all()
        west, _ = rasterio.warp.transform("EPSG:3857", "EPSG:4326", [source.transform.c], [source.transform.f])
        assert west[0] == pytest.approx(BOUNDS[0], abs=1e-5)


def test_one_tile_within_the_bounds_tells_the_size(server, tmp_path):
    find_inputs(
        [f"xyz:{server.url}/tiles/{{z}}/{{x}}/{{y}}.png"],
        tmp_path,
        InputOptions(bounds=(9, 50, 9.002, 50.002), gsd=0.4),
    )
    assert {path for path, _ in server.asked()} == {"/tiles/17/68813/44451.png"}


def test_tiles_that_a_server_lacks_are_no_data(server, tmp_path):
    (server.folder / "odd").touch()
    found = find_inputs(
        [f"xyz:{server.url}/tiles/{{z}}/{{x}}/{{y}}.png"], tmp_path, InputOptions(bounds=BOUNDS, gsd=0.4)
    )
    with gdal_environment(), RasterSource(next(iter(found))) as source:
        valid = source.valid(Window(0, 0, source.width, source.height))
        assert 0.3 < valid.mean() < 0.7 and (valid == valid[:1]).all()


def test_map_tiles_need_a_place_and_a_resolution(server, tmp_path):
    url = f"xyz:{server.url}/tiles/{{z}}/{{x}}/{{y}}.png"
    for options in (InputOptions(), InputOptions(gsd=0.3), InputOptions(bounds=BOUNDS)):
        with pytest.raises(InputError, match="needs --bounds west,south,east,north and --gsd metres"):
            find_inputs([url], tmp_path, options)
    with pytest.raises(InputError, match=r"no \{z\} in this URL"):
        find_inputs([url.replace("{z}", "z")], tmp_path, InputOptions(bounds=BOUNDS, gsd=0.3))
    for part, advice in (("{s}", " such as a, one of the server's hosts"), ("{r}", "")):
        with pytest.raises(InputError) as caught:
            find_inputs([url.replace("http://", f"http://{part}.")], tmp_path, InputOptions(bounds=BOUNDS, gsd=0.3))
        assert str(caught.value).endswith(
            f"{part} in this URL is not filled in; write what stands for it there{advice}"
        )


def test_a_run_on_map_tiles(demo, server, tmp_path):
    bounds = "9,50,9.0006,50.0004"
    status, out, errors = demo(
        f"xyz:{server.url}/tiles/{{z}}/{{x}}/{{y}}.png", "--bounds", bounds, "--gsd", "0.3", words="road, tree"
    )
    assert status == 0, errors
    assert set(np.unique(read(out / "127.0.0.1_labels.tif"))) <= {0, 1}
    (description,) = out.glob(".scenes/127.0.0.1-*.xml")
    assert server.url in description.read_text()
