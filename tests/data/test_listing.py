"""Which files belong to a split: no file vanishes without a word."""

from __future__ import annotations

import pytest
from PIL import Image

from sgovss.data.archives import RawFiles
from sgovss.data.listing import files_of_no_split, find_pairs, list_pairs, walk_files
from sgovss.data.specification import DatasetSpecification
from sgovss.errors import InputError


def specification(**split) -> DatasetSpecification:
    return DatasetSpecification(
        name="s", classes=["water", "land"], splits={"train": {"images": "i", "labels": "l", **split}}
    )


def write(root, *names):
    for name in names:
        path = root / "s" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(path, "PNG")


def names(records):
    return [(r["file_name"].rpartition("/s/")[2], r["sem_seg_file_name"].rpartition("/s/")[2]) for r in records]


@pytest.mark.parametrize(
    ("suffix", "image", "label"),
    [
        (".jpg", "b.JPG", "b.PNG"), (".jpg", "b.jpeg", "b.png"), (".jpeg", "b.Jpg", "b.Png"),
        (".tif", "b.TIFF", "b.png"), (".TIF", "b.tif", "b.png"), ("_sat.jpg", "b_SAT.JPEG", "b.png"),
    ],
)  # fmt: skip
def test_the_case_of_a_suffix_does_not_matter(tmp_path, suffix, image, label):
    write(tmp_path, f"i/{image}", f"l/{label}")
    spec = specification(image_suffix=suffix)
    assert names(list_pairs(spec, "train", tmp_path)) == [(f"i/{image}", f"l/{label}")]
    assert files_of_no_split(spec, tmp_path) == []


def test_files_in_linked_folders_are_found_once(tmp_path):
    (tmp_path / "there" / "below").mkdir(parents=True)
    (tmp_path / "there" / "below" / "a.png").touch()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "linked").symlink_to(tmp_path / "there")
    (tmp_path / "there" / "back").symlink_to(tmp_path / "here")
    assert [*walk_files(tmp_path / "here")] == [tmp_path / "here" / "linked" / "below" / "a.png"]


def test_two_files_of_one_name_are_told(tmp_path):
    write(tmp_path, "i/a.jpg", "i/a.JPG", "l/a.png")
    with pytest.raises(InputError, match=r"i/a\.jpg: has the name of a\.JPG, except for the suffix; keep one"):
        list_pairs(specification(image_suffix=".jpg"), "train", tmp_path)


@pytest.mark.parametrize(
    ("split", "files"),
    [
        ({"images": "x", "labels": "x", "label_suffix": "_mask.png"}, ["x/q.png", "x/q_mask.png"]),
        ({"images": "x", "labels": "x", "image_suffix": "_rgb.png"}, ["x/q_rgb.png", "x/q.png"]),
        ({"images": ".", "labels": "masks"}, ["q.png", "masks/q.png"]),
        ({"images": "images", "labels": "."}, ["images/q.png", "q.png"]),
        (
            {"images": "x", "labels": "x", "label_suffix": "_mask.tif", "image_suffix": ".tif"},
            ["x/q.TIF", "x/q_mask.TIFF"],
        ),
    ],
)
def test_a_mask_beside_its_image_is_no_image(tmp_path, split, files):
    write(tmp_path, *files)
    spec = specification(**split)
    records, problems = find_pairs(spec, "train", tmp_path)
    assert (names(records), problems) == ([tuple(files)], [])
    assert files_of_no_split(spec, tmp_path) == []


def test_files_that_no_split_takes_are_listed(tmp_path):
    write(tmp_path, "i/a.png", "l/a.png", "i/b.tif", "l/c.bmp")
    (tmp_path / "s/i/a.tfw").write_text("1")
    for name in ("i/readme", "i/LICENSE", "l/SHA256SUMS", "i/notes.TXT", "i/a.png.aux.xml", "l/a.pgw", "l/Thumbs.db"):
        (tmp_path / "s" / name).write_text("1")
    left = files_of_no_split(specification(), tmp_path)
    assert [path.name for path in left] == ["b.tif", "c.bmp"]


@pytest.mark.parametrize("suffix", ["", ".jp2", ".img", ".npy", ".GIF", ".geojson", ".mat"])
def test_pairs_of_kinds_that_are_not_read_are_listed(tmp_path, suffix):
    write(tmp_path, "i/a.png", "l/a.png")
    for name in ("i/b", "l/b"):
        (tmp_path / "s" / f"{name}{suffix}").write_bytes(b"1")
    left = files_of_no_split(specification(), tmp_path)
    assert [path.relative_to(tmp_path / "s").as_posix() for path in left] == [f"i/b{suffix}", f"l/b{suffix}"]


@pytest.mark.parametrize("file", ["masks", "annotations.json", "fields.geojson"])
@pytest.mark.parametrize("side", ["images", "labels"])
def test_a_file_in_place_of_a_folder_is_told(tmp_path, file, side):
    write(tmp_path, "i/a.png")
    (tmp_path / "s" / file).write_text("{}")
    with pytest.raises(
        InputError, match=rf"{file}: a file, where .* needs a folder of image files; if it holds polygons"
    ):
        find_pairs(specification(**{side: file}), "train", tmp_path)


def test_an_empty_split_names_what_is_there(tmp_path):
    write(tmp_path, "i/a.tif", "i/b.bmp", "l/a.tif")
    with pytest.raises(InputError, match=r"expected files like \*\.png, found files such as a\.tif"):
        find_pairs(specification(), "train", tmp_path)


@pytest.mark.parametrize("pattern", ["i/{*}.png", "{*}.PNG", "s/i/{*}.Png"])
def test_patterns_of_published_files_take_any_case(tmp_path, pattern):
    write(tmp_path, "i/a.png", "i/b.PNG", "i/c.Png")
    assert set(RawFiles(tmp_path).find([pattern])) == {"a", "b", "c"}
    assert set(RawFiles(tmp_path).find(["i/{*}.jpg"])) == set()
