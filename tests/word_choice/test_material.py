"""Images with labels or points; wrong ones are one line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from sgovss.errors import InputError
from sgovss.vocabulary import Vocabulary
from sgovss.word_choice.material import from_folder, from_label_folder, from_points, label_values
from sgovss.word_choice.points import read_points
from tests.word_choice.conftest import write_scenes

CLASSES = Vocabulary.from_string("grass|lawn, water")


@pytest.fixture
def folder(tmp_path):
    write_scenes(tmp_path, 3, size=16)
    return tmp_path


def test_labels_of_other_values(folder):
    material = from_label_folder(folder / "images", folder / "labels", label_values("255,0|1", None, 2))
    ids = material.samples[0].truth()
    assert (ids[:-1] == 1).all() and (ids[-1] == 0).all()


def test_files_without_a_partner_are_told(folder):
    (folder / "labels" / "scene_1.png").unlink()
    (folder / "images" / "scene_2.png").unlink()
    material = from_label_folder(folder / "images", folder / "labels", label_values(None, None, 2))
    assert [sample.name for sample in material.samples] == ["scene_0"]
    assert material.notes == [
        f"not used, as they have no label: {folder}/images/scene_1.png",
        f"not used, as they have no image: {folder}/labels/scene_2.png",
    ]


@pytest.mark.parametrize(
    ("values", "ignored", "line"),
    [
        ("0,1,2", None, "--values 0,1,2: 3 values for 2 classes; give one for each, in order"),
        ("0,0", None, "--values: a label value is given twice; give each to one class, or to --ignore"),
        ("0,1", "1", "--values: a label value is given twice; give each to one class, or to --ignore"),
        ("0,x", None, "--values: 'x' is no whole number; give label values such as 0,1,2"),
        (None, "no", "--ignore: 'no' is no whole number; give label values such as 0,1,2"),
    ],
)
def test_wrong_label_values(values, ignored, line):
    with pytest.raises(InputError) as refused:
        label_values(values, ignored, 2)
    assert str(refused.value) == line


def test_a_label_value_without_a_class_is_named(folder):
    material = from_label_folder(folder / "images", folder / "labels", label_values("0,2", None, 2))
    with pytest.raises(InputError, match=r"scene_0.png: label value 1 \(120 pixels\) is outside"):
        material.samples[0].truth()


@pytest.mark.parametrize(("value", "line"), [(np.nan, "label values are NaN"), (0.5, "are no whole numbers")])
def test_the_remedy_for_missing_values_is_an_option_of_the_command(folder, value, line):
    (folder / "labels" / "scene_0.png").unlink()
    values = np.zeros((16, 16), np.float32)
    values[2, 3] = value
    Image.fromarray(values).save(folder / "labels" / "scene_0.tif")
    material = from_label_folder(folder / "images", folder / "labels", label_values(None, None, 2))
    with pytest.raises(InputError, match=rf"1 .*{line}.* a number that stands in --ignore") as refused:
        material.samples[0].truth()
    assert "dataset file" not in str(refused.value)


def test_a_label_of_another_size_is_named(folder):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "labels" / "scene_0.png")
    material = from_label_folder(folder / "images", folder / "labels", label_values(None, None, 2))
    with pytest.raises(InputError, match=r"label is 8x8 pixels, its image .* is 16x16; make them equal"):
        material.samples[0].truth()


def test_labels_of_other_names_and_folders_that_are_not_there(folder):
    for path in (folder / "labels").iterdir():
        path.rename(path.with_name(f"mask_{path.name}"))
    with pytest.raises(InputError, match=r"no label has the name of an image, such as scene_0.png; found mask_scene_0"):
        from_label_folder(folder / "images", folder / "labels", label_values(None, None, 2))
    with pytest.raises(InputError, match=r"--images .*: no such folder"):
        from_folder(folder / "nothing")


def drawn(folder, file, classes=CLASSES):
    points, notes = read_points(file, folder / "images", classes)
    return from_points(folder / "images", points, len(classes)), notes


def test_points_of_a_table_are_pixels(folder):
    file = folder / "points.csv"
    file.write_text("image,x,y,class\nscene_1.png,3.7,0,Lawn\nscene_1,15.9,15,water\nscene_2,99,0,water\n")
    material, notes = drawn(folder, file)
    (sample,) = material.samples
    ids = sample.truth()
    assert (ids[0, 3], ids[15, 15], (ids == 2).sum()) == (0, 1, 16 * 16 - 2)
    assert notes == [f"{file}: 1 of 3 points are in no image and are not used"]
    assert material.notes[0].startswith("not used, as they have no point: ")


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:4326"])
def test_points_on_the_ground(tmp_path, crs):
    rasterio = pytest.importorskip("rasterio")
    from rasterio.transform import from_origin
    from rasterio.warp import transform

    (tmp_path / "images").mkdir()
    place = from_origin(500000, 5300000, 2, 2)
    profile = {"driver": "GTiff", "width": 20, "height": 10, "count": 3, "dtype": "uint8", "crs": "EPSG:32632"}
    with rasterio.open(tmp_path / "images" / "scene.tif", "w", transform=place, **profile) as raster:
        raster.write(np.zeros((3, 10, 20), np.uint8))
    xs, ys = transform("EPSG:32632", crs, [500007.0, 500039.0, 500100.0], [5299999.0, 5299981.0, 5299990.0])
    shapes = [
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [x, y]}, "properties": {"class": name}}
        for x, y, name in zip(xs, ys, ["grass", "water", "water"], strict=True)
    ]
    content = {"type": "FeatureCollection", "features": shapes}
    if crs != "EPSG:4326":
        content["crs"] = {"type": "name", "properties": {"name": crs}}
    file = tmp_path / "points.geojson"
    file.write_text(json.dumps(content))
    material, notes = drawn(tmp_path, file)
    ids = material.samples[0].truth()
    assert (ids[0, 3], ids[9, 19], (ids == 2).sum()) == (0, 1, 198)
    assert notes == [f"{file}: 1 of 3 points are in no image and are not used"]


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.csv", "x,y\n1,2\n", "no column 'class' in its first line; it needs the columns x, y, class, and image"),
        ("a.csv", "x,y,class\n", "no point in this file"),
        ("a.csv", "", "no column 'x' in its first line"),
        ("a.csv", "x,y,class,image\n1,two,grass,scene_0\n", "x and y are '1' and 'two'; give two numbers"),
        ("a.csv", "x,y,class,image\n1,2,whale,scene_0\n", "'whale' is none of the classes grass, water"),
        ("a.csv", "x,y,class,image\n1,2,grass,scene_9\n", "no image 'scene_9' in the folder of --images"),
        ("a.csv", "x,y,class,image\n1,nan,grass,scene_0\n", "a coordinate is not finite, or there is no class"),
        ("a.csv", "x,y,class,image\n99,2,grass,scene_0\n", "no point is in an image of"),
        ("a.csv", "x,y,class\n1,2,grass\n", "has no georeference, and points without image are on the ground"),
        ("a.geojson", "[1, 2]", "no GeoJSON with features"),
        ("a.geojson", '{"features": [{"geometry": {"type": "Polygon"}}]}', "feature 1: a Polygon, not a Point"),
        ("a.geojson", '{"features": [{"geometry": {"type": "Point"}}]}', "x and y are 'None' and 'None'"),
    ],
)
def test_wrong_points_are_one_line(folder, name, text, line):
    (folder / name).write_text(text)
    with pytest.raises(InputError) as refused:
        drawn(folder, folder / name)
    assert line in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("values", "ignored", "remedy"),
    [
        ("0,2", None, "--ignore=255,1"),
        ("0,255", None, "--ignore=1"),
        ("0,2", "7,-9999", "--ignore=7,-9999,1,255"),
        ("5,6", "255", "--ignore=255,0,1"),
    ],
)
def test_the_remedy_for_an_unknown_value_is_an_option_and_works(folder, values, ignored, remedy):
    material = from_label_folder(folder / "images", folder / "labels", label_values(values, ignored, 2))
    with pytest.raises(InputError, match=rf"; correct the label, or add it to a class in --values, or give {remedy}$"):
        material.samples[0].truth()
    known = label_values(values, remedy.removeprefix("--ignore="), 2)
    assert from_label_folder(folder / "images", folder / "labels", known).samples[0].truth().max() <= 2
