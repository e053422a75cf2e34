"""What a user may give as input: content decides what is a scene, names are those of GDAL."""

from __future__ import annotations

import json
import shutil
import zipfile

import numpy as np
import pytest
import rasterio
import rasterio.warp
from PIL import Image
from rasterio.enums import ColorInterp as C
from rasterio.transform import from_origin
from rasterio.windows import Window

from sgovss.errors import InputError
from sgovss.inference.inputs import find_images
from sgovss.rasters.inputs import InputOptions, find_inputs, is_scene
from sgovss.rasters.options import SceneOptions
from sgovss.rasters.source import RasterSource
from sgovss.rasters.stretch import shared_stretch

from .conftest import UTM, read

WORLD = "0.3\n0\n0\n-0.3\n500000.15\n5299999.85\n"
AUX = "<PAMDataset><SRS>EPSG:32632</SRS></PAMDataset>"
BOUNDS = (9.0002, 47.8529, 9.0009, 47.8532)  # in degrees; within the rasters of these tests


def save_photograph(path, pixels):
    Image.fromarray(pixels.transpose(1, 2, 0)).save(path)
    return path


def beside(path, world):
    path.with_suffix(world).write_text(WORLD)
    path.with_name(f"{path.name}.aux.xml").write_text(AUX)


@pytest.fixture
def kinds(write_raster, scene_pixels, tmp_path):
    """Files of many kinds in one folder, and whether each is a scene."""
    folder = tmp_path / "kinds"
    folder.mkdir()
    result = {}
    for name, driver in (
        ("a.gtiff", "GTiff"), ("b", "GTiff"), ("c.dat", "ENVI"), ("d", "ENVI"), ("e.pix", "PCIDSK"), ("f.tif", "GTiff"),
        ("g.img", "HFA"), ("h.jp2", "JP2OpenJPEG"),
    ):  # fmt: skip
        write_raster(scene_pixels, name=f"kinds/{name}", driver=driver, **UTM)
        result[name] = True
    for name, world in (("i.jpg", ".jgw"), ("j.png", ".pgw"), ("k.bmp", ".bpw")):
        beside(save_photograph(folder / name, scene_pixels), world)
        result[name] = True
    for name in ("l.jpg", "m.png", "n.bmp", "o.webp"):
        save_photograph(folder / name, scene_pixels)
        result[name] = False
    (folder / "readme.txt").write_text("no image")
    (folder / "q.tif.ovr").write_bytes((folder / "f.tif").read_bytes())
    return folder, result


def test_content_decides_what_is_a_scene(kinds, tmp_path):
    folder, expected = kinds
    found = find_inputs([str(folder)], tmp_path / "out")
    assert {name.rpartition("/")[2]: is_scene(name) for name in found} == expected
    assert [str(title) for title in found.values()] == sorted(name.split(".")[0] for name in expected)
    for name, scene in expected.items():
        if scene:
            with RasterSource(folder / name) as source:
                assert np.allclose(tuple(source.transform)[:6], tuple(UTM["transform"])[:6]), name


def test_unreadable_files_go_the_way_of_their_suffix(tmp_path):
    for name, scene in (("a.tif", True), ("b.png", False), ("c.jp2", True), ("d.txt", False)):
        (tmp_path / name).write_bytes(b"nothing")
        assert is_scene(tmp_path / name) == scene


@pytest.mark.parametrize("name", ["a!b.tif", "a:b.tif", "GPKG:b.tif", "a#b?c.tif", "ü ö.tif", "http:x.tif", "[1].tif"])
def test_paths_with_characters_that_mean_something_elsewhere(write_raster, scene_pixels, tmp_path, monkeypatch, name):
    write_raster(scene_pixels, name=name, **UTM)
    monkeypatch.chdir(tmp_path)
    for given in (name, str(tmp_path / name)):
        assert list(find_inputs([given], "out")) == [given]
        with RasterSource(given, no_data=7) as source:
            assert source.read(Window(0, 0, 260, 200), (200, 260))[0].shape == (200, 260, 3)


def test_names_of_gdal(write_raster, scene_pixels, tmp_path):
    path = write_raster(scene_pixels, **UTM)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, "in/scene.tif")
    package = tmp_path / "two.gpkg"
    for table, append in (("north", "NO"), ("south", "YES")):
        options = {"raster_table": table, "append_subdataset": append}
        write_raster(scene_pixels, name="two.gpkg", driver="GPKG", **options, **UTM)
    single = write_raster(scene_pixels, name="one.gpkg", driver="GPKG", raster_table="t", **UTM)
    names = {
        f"/vsizip/{tmp_path}/a.zip/in/scene.tif": "scene",
        f"zip://{tmp_path}/a.zip!/in/scene.tif": "scene",
        f"GPKG:{package}:south": "two_south",
        str(single): "one",
        f"vrt://{path}?bands=3,2,1": "scene",
    }
    for name, title in names.items():
        assert {key: str(value) for key, value in find_inputs([name], tmp_path).items()} == {name: title}
        assert is_scene(name)
        with RasterSource(name) as source:
            assert (source.width, source.height, source.crs.to_epsg()) == (260, 200, 32632)
    with pytest.raises(
        InputError, match=rf"two.gpkg: holds 2 rasters; give the name of one: GPKG:{package}:north, GPKG"
    ):
        RasterSource(package)
    with pytest.raises(InputError, match="no such file or folder"):
        find_inputs([str(tmp_path / "nowhere.tif")], tmp_path)


def test_a_photograph_with_a_world_file_becomes_a_map(demo, scene_pixels, tmp_path):
    path = save_photograph(tmp_path / "tile.png", scene_pixels)
    beside(path, ".pgw")
    status, out, _ = demo(path)
    assert status == 0
    with rasterio.open(out / "tile_labels.tif") as raster:
        assert np.allclose(tuple(raster.transform)[:6], tuple(UTM["transform"])[:6])
        assert raster.crs.to_epsg() == 32632


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--polygons"], "--polygons is"),
        (["--aoi", "{field}"], "--aoi is"),
        (["--bands", "3,2,1", "--confidence"], "--bands and --confidence are"),
        (["--bands", "3,2,1", "--no-data", "0", "--aoi", "{field}"], "--bands, --no-data and --aoi are"),
    ],
)
def test_options_that_a_photograph_does_not_use_are_named(demo, scene_pixels, tmp_path, caplog, options, line):
    field = tmp_path / "field.geojson"
    field.write_text('{"type": "Point", "coordinates": [1, 2]}')
    path = save_photograph(tmp_path / "photo.jpg", scene_pixels)
    status, _, _ = demo(path, *[option.format(field=field) for option in options])
    assert status == 0 and f"photo.jpg: a photograph, for which {line} not used" in caplog.text
    caplog.clear()
    assert demo(path)[0] == 0 and "not used" not in caplog.text


@pytest.mark.parametrize(
    ("folder", "output"), [("photos", "photos"), ("job/photos", "job"), (".", "."), (".", "./out")]
)
def test_the_output_folder_may_be_the_input_folder(scene_pixels, tmp_path, monkeypatch, folder, output):
    monkeypatch.chdir(tmp_path)
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / output).mkdir(parents=True, exist_ok=True)
    for name in ("a.jpg", "b.png"):
        save_photograph(tmp_path / folder / name, scene_pixels)
    for _ in range(2):
        found = find_images([folder])
        assert [str(name) for name in found.values()] == ["a", "b"]
        for name in ("a_labels.png", "a_overlay.png", "b_labels.tif"):
            shutil.copy(tmp_path / folder / "a.jpg", tmp_path / output / name)
        (tmp_path / output / "a_shares.json").write_text("{}")
        (tmp_path / output / "b.parts").mkdir(exist_ok=True)
        (tmp_path / output / "b.parts" / "plan.json").write_text("{}")
        shutil.copy(tmp_path / folder / "a.jpg", tmp_path / output / "b.parts" / "labels.tif")


def test_outputs_of_earlier_runs_are_left_out_wherever_they_are(demo, scene_pixels, tmp_path, write_raster, caplog):
    """Files of the user with such names, or in a folder of outputs, are images."""
    photos = tmp_path / "photos"
    (photos / "out").mkdir(parents=True)
    save_photograph(photos / "a.png", scene_pixels)
    write_raster(scene_pixels, **UTM).rename(photos / "b.tif")
    for name in ("a_labels.png", "out/c.png", "out/d_overlay.png"):
        save_photograph(photos / name, scene_pixels)
    expected = ["a", "a_labels", "b", "out/c", "out/d_overlay"]
    assert [str(title) for title in find_images([photos]).values()] == expected
    status, out, _ = demo(photos)
    assert status == 0
    out.rename(photos / "map")
    assert [str(title) for title in find_images([photos]).values()] == expected
    assert "outputs of earlier runs are not segmented again" in caplog.text


@pytest.mark.parametrize("output", ["a_overlay.png", "a_labels.tif", "a_probabilities.tif"])
def test_a_folder_of_nothing_but_outputs_is_an_error(scene_pixels, tmp_path, output):
    save_photograph(tmp_path / "a.png", scene_pixels).rename(tmp_path / output)
    (tmp_path / "a_shares.json").write_text("{}")
    with pytest.raises(InputError, match="no image in this folder other than outputs of earlier runs"):
        find_images([tmp_path])
    (tmp_path / "a_shares.json").unlink()
    assert [str(title) for title in find_images([tmp_path]).values()] == [output[:-4]]


def quarters(write_raster, pixels, **options):
    """Four tiles of a scene, which overlap by ten pixels."""
    names = []
    for row in (0, 90):
        for column in (0, 120):
            part = pixels[:, row : row + 110, column : column + 140]
            place = from_origin(500_000 + 0.3 * column, 5_300_000 - 0.3 * row, 0.3, 0.3)
            write_raster(part, name=f"tiles/{row}_{column}.tif", **{**UTM, "transform": place, **options})
            names.append(f"tiles/{row}_{column}.tif")
    return names


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_mosaic_equals_the_scene(write_raster, scene_pixels, tmp_path, dtype):
    (tmp_path / "tiles").mkdir()
    pixels = (scene_pixels.astype(float) * 7).astype(dtype)
    whole = write_raster(pixels, **UTM)
    names = quarters(write_raster, pixels)
    window = Window(0, 0, 260, 200)
    for given, title in (([str(tmp_path / "tiles")], "tiles"), ([str(tmp_path / name) for name in names], "mosaic")):
        found = find_inputs(given, tmp_path / "out", InputOptions(mosaic=True))
        assert [str(name) for name in found.values()] == [title]
        with RasterSource(next(iter(found))) as source, RasterSource(whole) as expected:
            assert (source.crs, source.transform, source.stretch) == (
                expected.crs,
                expected.transform,
                expected.stretch,
            )
            assert (source.read(window, (200, 260))[0] == expected.read(window, (200, 260))[0]).all()
            assert (source.read(window, (70, 90))[0] == expected.read(window, (70, 90))[0]).mean() > 0.9
            assert source.valid(window).all() and not source.remarks


def test_gaps_and_no_data_of_tiles_are_left_out(write_raster, scene_pixels, tmp_path):
    (tmp_path / "tiles").mkdir()
    pixels = np.where(scene_pixels == 9, 10, scene_pixels)
    expected = np.ones((200, 260), bool)
    pixels[:, 95:105, 30:60] = 9  # where two tiles overlap
    expected[95:105, 30:60] = False
    names = quarters(write_raster, pixels, nodata=9)
    found = find_inputs([str(tmp_path / name) for name in names[:3]], tmp_path / "out", InputOptions(mosaic=True))
    expected[110:, 140:] = False
    with RasterSource(next(iter(found))) as source:
        assert (source.valid(Window(0, 0, 260, 200)) == expected).all()


def test_a_mosaic_has_one_label_map(demo, write_raster, scene_pixels, tmp_path):
    (tmp_path / "tiles").mkdir()
    quarters(write_raster, scene_pixels.astype(np.uint16) * 9)
    whole = write_raster(scene_pixels.astype(np.uint16) * 9, **UTM)
    assert demo(whole)[0] == 0
    status, out, _ = demo(tmp_path / "tiles", "--mosaic")
    assert status == 0 and (read(out / "tiles_labels.tif") == read(out / "scene_labels.tif")).all()
    assert demo(tmp_path / "tiles", "--mosaic", "--resume")[0] == 0


def test_tiles_that_do_not_fit(write_raster, scene_pixels, tmp_path):
    first = str(write_raster(scene_pixels, **UTM))
    others = {
        "coordinate reference system": write_raster(scene_pixels, name="crs.tif", **{**UTM, "crs": "EPSG:32633"}),
        "number of bands": write_raster(scene_pixels[:1], name="bands.tif", **UTM),
        "data type": write_raster(scene_pixels.astype(np.uint16), name="type.tif", **UTM),
        "north up": write_raster(scene_pixels, name="none.tif"),
    }
    for what, other in others.items():
        with pytest.raises(InputError, match=what):
            find_inputs([first, str(other)], tmp_path / "out", InputOptions(mosaic=True))


@pytest.mark.parametrize(
    ("names", "bands"),
    [
        (("S2_B02_10m", "S2_B03_10m", "S2_B04_10m", "S2_B08_10m"), (3, 2, 1)),
        (("x-P001-B", "x-P001-G", "x-P001-R"), (3, 2, 1)),
        (("first", "second", "third"), (1, 2, 3)),
        (("red", "green", "blue", "nir"), (1, 2, 3)),
    ],
)
def test_single_bands_as_one_scene(write_raster, scene_pixels, tmp_path, names, bands):
    four = np.concatenate([scene_pixels, scene_pixels[:1]])
    files = [str(write_raster(four[i : i + 1], name=f"{name}.tif", **UTM)) for i, name in enumerate(names)]
    scene = next(iter(find_inputs(files, tmp_path / "out", InputOptions(stack=True))))
    with RasterSource(scene) as source:
        assert source.bands == bands
        found = source.read(Window(0, 0, 260, 200), (200, 260))[0]
        assert (found == four[[band - 1 for band in bands]].transpose(1, 2, 0)).all()
    with RasterSource(scene, (names[1], 3, 3)) as source:
        assert source.bands == (2, 3, 3)


def test_bands_of_other_resolution_and_place(write_raster, scene_pixels, tmp_path):
    fine = [str(write_raster(scene_pixels[i : i + 1], name=f"{i}.tif", **UTM)) for i in range(2)]
    coarse = write_raster(
        scene_pixels[2:, ::2, ::2], name="2.tif", **{**UTM, "transform": from_origin(500_000, 5_300_000, 0.6, 0.6)}
    )
    scene = next(iter(find_inputs([*fine, str(coarse)], tmp_path / "out", InputOptions(stack=True))))
    with rasterio.open(scene) as raster:
        assert raster.shape == (200, 260) and (raster.read(3)[::2, ::2] == scene_pixels[2, ::2, ::2]).all()
        assert raster.colorinterp == (C.red, C.green, C.blue)
    moved = write_raster(scene_pixels[2:], name="3.tif", **{**UTM, "transform": from_origin(0, 0, 0.3, 0.3)})
    with pytest.raises(InputError, match=r"--stack: .* covers other ground"):
        find_inputs([*fine, str(moved)], tmp_path / "out", InputOptions(stack=True))


def test_bounds_cut_a_scene(write_raster, scene_pixels, tmp_path):
    path = str(write_raster(scene_pixels, **UTM))
    with rasterio.open(path) as whole:
        left, bottom, right, top = whole.bounds
        inner = left + 20.1, bottom + 15.1, right - 30.1, top - 10.1
        west, south, east, north = rasterio.warp.transform_bounds(whole.crs, "EPSG:4326", *inner)
    found = find_inputs([path], tmp_path / "out", InputOptions(bounds=(west, south, east, north)))
    with rasterio.open(next(iter(found))) as part, rasterio.open(path) as whole:
        left, bottom, right, top = rasterio.warp.transform_bounds("EPSG:4326", whole.crs, west, south, east, north)
        assert part.bounds.left <= left < part.bounds.left + 0.3 and part.bounds.top - 0.3 < top <= part.bounds.top
        row, column = round((5_300_000 - part.bounds.top) / 0.3), round((part.bounds.left - 500_000) / 0.3)
        height, width = part.shape
        assert 0 < height < 200 and 0 < width < 260
        assert (part.read() == scene_pixels[:, row : row + height, column : column + width]).all()
    with pytest.raises(InputError, match="--bounds: outside of"):
        find_inputs([path], tmp_path / "out", InputOptions(bounds=(10, 47.85, 10.1, 47.86)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mosaic": True, "stack": True}, "exclude each other"),
        ({"bounds": (1, 2, 3)}, "--bounds: give 4 numbers"),
        ({"bounds": (3, 2, 1, 4)}, "--bounds: 3,2,1,4 is not west"),
        ({"bounds": (0, 0, 1, 91)}, "is not west,south,east,north"),
        ({"bounds": (179, 0, 180.5, 1)}, "is not west,south,east,north"),
        ({"bounds": (-180.5, 0, -179, 1)}, "is not west,south,east,north"),
        ({"bounds": (0, -90.5, 1, 1)}, "is not west,south,east,north"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        InputOptions(**options)


def test_a_stretch_by_values_and_a_shared_one(demo, write_raster, scene_pixels, tmp_path, monkeypatch):
    dark = scene_pixels.astype(np.uint16) * 10
    paths = [str(write_raster(dark * factor, name=f"{factor}.tif", **UTM)) for factor in (1, 2)]
    pixels = np.concatenate([dark.reshape(3, -1), 2 * dark.reshape(3, -1)], axis=1)
    expected = np.percentile(pixels, (2, 98), axis=1).T
    assert np.allclose(shared_stretch(paths, SceneOptions()), expected, rtol=0.02)
    limits = []
    with monkeypatch.context() as patch:
        read_values = RasterSource.values
        patch.setattr("sgovss.rasters.stretch._PIXELS", 5000)
        patch.setattr(RasterSource, "values", lambda self, limit: limits.append(limit) or read_values(self, limit))
        shared_stretch(paths, SceneOptions())
    assert limits == [2500, 2500]  # pixels of each, so that all of a run fit in memory
    with RasterSource.from_options(paths[0], SceneOptions(stretch_range=((0, 3000),))) as source:
        found = source.read(Window(0, 0, 260, 200), (200, 260))[0]
        assert (np.abs(found - dark.transpose(1, 2, 0) * (255 / 3000)) <= 0.51).all()
    status, out, _ = demo(tmp_path, "--stretch", "shared")
    facts = [json.loads((out / f"{name}_shares.json").read_text())["facts"]["stretch"] for name in (1, 2)]
    assert status == 0 and facts[0] == facts[1]
    write_raster(scene_pixels, name="8bit.tif", **UTM)
    status, _, errors = demo(tmp_path, "--stretch", "shared")
    assert status == 2 and "8bit.tif is uint8" in errors and "is uint16" in errors


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".gif"])
@pytest.mark.parametrize("options", [{"mosaic": True}, {"bounds": BOUNDS}, {"mosaic": True, "bounds": BOUNDS}])
def test_photographs_are_neither_joined_nor_cut(write_raster, scene_pixels, tmp_path, suffix, options):
    (tmp_path / "tiles").mkdir()
    quarters(write_raster, scene_pixels)
    photograph = save_photograph(tmp_path / "tiles" / f"photo{suffix}", scene_pixels)
    found = find_inputs([str(tmp_path / "tiles")], tmp_path / "out", InputOptions(**options))
    assert str(found.pop(str(photograph))) == "photo"
    assert [str(title) for title in found.values()] == (
        ["tiles"] if "mosaic" in options else ["0_0", "0_120", "90_0", "90_120"]
    )
    assert all(".scenes" in name and is_scene(name) for name in found)
    assert [*find_inputs([str(photograph)], tmp_path / "out", InputOptions(**options))] == [str(photograph)]


@pytest.mark.parametrize("flags", [["--mosaic"], ["--bounds", ",".join(map(str, BOUNDS))]])
def test_a_photograph_among_tiles_is_segmented_as_a_photograph(
    demo, write_raster, scene_pixels, tmp_path, caplog, flags
):
    (tmp_path / "tiles").mkdir()
    write_raster(scene_pixels, name="tiles/a.tif", **UTM)
    save_photograph(tmp_path / "tiles" / "photo.jpg", scene_pixels)
    status, out, _ = demo(tmp_path / "tiles", *flags)
    assert status == 0 and (out / "photo_labels.png").is_file()
    assert (out / ("tiles_labels.tif" if flags == ["--mosaic"] else "a_labels.tif")).is_file()
    assert f"photo.jpg: a photograph, for which {flags[0]} is not used" in caplog.text


FILLED = [("uint8", 0), ("uint8", 255), ("uint16", 0), ("uint16", 65535), ("int16", -32768), ("float32", -9999)]


def filled_tiles(write_raster, scene_pixels, dtype, value, bands=3):
    """Two tiles that overlap in 100 columns, of which the upper one is filler in 60. Both have such pixels inside."""
    pixels = np.clip(scene_pixels, 10, 240).astype(dtype)
    pixels = np.concatenate([pixels, np.full_like(pixels[:1], 255)])[:bands]
    pixels[:3, 50:52, 200:202] = value  # where only the second tile is
    upper = pixels[:, :, 80:].copy()
    upper[:3, :, :60] = value
    place = {**UTM, "transform": from_origin(500_000 + 80 * 0.3, 5_300_000, 0.3, 0.3)}
    names = [write_raster(pixels[:, :, :180], name="a.tif", **UTM), write_raster(upper, name="b.tif", **place)]
    return pixels, upper, [str(name) for name in names]


@pytest.mark.parametrize("bands", [3, 4])
@pytest.mark.parametrize(("dtype", "value"), FILLED)
def test_filler_does_not_cover_other_tiles(write_raster, scene_pixels, tmp_path, caplog, dtype, value, bands):
    pixels, upper, names = filled_tiles(write_raster, scene_pixels, dtype, value, bands)
    for no_data, expected in (("auto", pixels), (float(value), pixels), ("declared", None), ("none", None)):
        caplog.clear()
        options = InputOptions(mosaic=True, no_data=no_data)
        with rasterio.open(next(iter(find_inputs(names, tmp_path / "out", options)))) as raster:
            found = raster.read()
        if expected is None:
            expected = np.concatenate([pixels[:, :, :80], upper], axis=2)
        assert (found == expected).all()
        line = "1 of 2 tiles have a constant border or filler that they do not declare, such as"
        assert (f"--mosaic: {line} {names[1]} (" in caplog.text) == (no_data == "auto")


def test_tiles_that_do_not_overlap_are_not_searched_for_filler(write_raster, scene_pixels, tmp_path, monkeypatch):
    monkeypatch.setattr("sgovss.rasters.inputs.RasterSource", None)
    names = []
    for number in range(3):
        place = from_origin(500_000 + 260 * 0.3 * number, 5_300_000, 0.3, 0.3)
        names.append(str(write_raster(scene_pixels, name=f"{number}.tif", **{**UTM, "transform": place})))
    assert len(find_inputs(names, tmp_path / "out", InputOptions(mosaic=True))) == 1


def test_the_no_data_option_says_what_is_filler(demo, write_raster, scene_pixels, tmp_path, caplog):
    (tmp_path / "tiles").mkdir()
    filled_tiles(
        lambda pixels, name, **place: write_raster(pixels, name=f"tiles/{name}", **place), scene_pixels, "uint8", 0
    )
    for option, told in (("auto", True), ("declared", False), ("0", False)):
        caplog.clear()
        assert demo(tmp_path / "tiles", "--mosaic", "--no-data", option)[0] == 0
        assert ("tiles have a constant border" in caplog.text) == told
