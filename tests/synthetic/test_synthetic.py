"""Synthetic images: reproducible, exactly labelled, truthfully captioned, safely written."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from functools import cache

import cv2
import numpy as np
import pytest

from sgovss.errors import InputError
from sgovss.synthetic import (
    STYLES,
    SYNTHETIC_CLASSES,
    SYNTHETIC_VOCABULARY,
    WIDE_VOCABULARY,
    SyntheticImage,
    generate_image,
    overlapping_splits,
    write_images,
)
from sgovss.synthetic import writer as writer_module
from sgovss.synthetic.__main__ import main
from sgovss.synthetic.canvas import Canvas
from sgovss.synthetic.classes import Id, vocabulary_of
from sgovss.synthetic.clutter import add_heap, add_stack
from sgovss.synthetic.greenhouses import add_greenhouse
from sgovss.synthetic.image import GENERATOR_VERSION, _kind_of
from sgovss.synthetic.leisure import add_court
from sgovss.synthetic.light import pixel_labels
from sgovss.synthetic.styles import get_style
from sgovss.synthetic.vehicles import add_car

SEEDS = range(len(STYLES["a"].kinds))


@cache
def drawn(seed: int, style: str = "a", size: int = 128) -> SyntheticImage:
    return generate_image(seed, size, style)


def test_class_ids_follow_the_vocabulary():
    assert len(SYNTHETIC_CLASSES) == 14 and len(Id) == len(WIDE_VOCABULARY) == 17
    assert WIDE_VOCABULARY.names[:14] == SYNTHETIC_VOCABULARY.names
    assert WIDE_VOCABULARY.names[Id.CLUTTER] == "clutter"
    assert [entry.name for entry in SYNTHETIC_VOCABULARY] == list(SYNTHETIC_CLASSES)
    assert SYNTHETIC_CLASSES[Id.BUILDING] == "building"
    assert SYNTHETIC_CLASSES[Id.TANK] == "storage tank"
    assert SYNTHETIC_CLASSES[Id.PAVEMENT] == "pavement"
    assert len({tuple(color) for color in WIDE_VOCABULARY.colors()}) == 17


@pytest.mark.parametrize("style", STYLES)
def test_a_seed_gives_the_same_bits(style):
    first, second = generate_image(7, 96, style), generate_image(7, 96, style)
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.labels, second.labels)
    assert (first.captions, first.gsd, first.kind) == (second.captions, second.gsd, second.kind)
    assert not np.array_equal(first.image, generate_image(8, 96, style).image)


@pytest.mark.parametrize(
    ("style", "kind", "gsd", "caption", "colour", "pixels"),
    [
        (
            "a",
            "industrial",
            0.591584,
            "This is an industrial area with many storage tanks, a vehicle and several trees .",
            [108.97, 101.98, 92.44],
            [0, 2238, 315, 505, 0, 10389, 0, 28, 0, 0, 2791, 0, 0, 118],
        ),
        (
            "b",
            "residential",
            0.182237,
            "An aerial image of a residential neighborhood with two buildings .",
            [159.91, 159.0, 136.13],
            [2321, 6034, 0, 5344, 0, 240, 0, 31, 0, 0, 0, 0, 0, 2414],
        ),
        (
            "c",
            "desert",
            0.95806,
            "Here is a sandy landscape with some buildings .",
            [193.55, 172.72, 149.86],
            [938, 984, 4, 0, 0, 14458, 0, 0, 0, 0, 0, 0, 0, 0],
        ),
    ],
)
def test_a_seed_gives_the_image_of_generator_version_3(style, kind, gsd, caption, colour, pixels):
    """Raise GENERATOR_VERSION when this changes. Colours may differ a little between versions of OpenCV."""
    made = drawn(11, style)
    assert GENERATOR_VERSION == 3
    assert (made.kind, made.captions[0]) == (kind, caption) and made.gsd == pytest.approx(gsd, abs=1e-6)
    assert made.image.mean(axis=(0, 1)).tolist() == pytest.approx(colour, abs=0.5)
    assert np.bincount(made.labels.ravel(), minlength=14).tolist() == pytest.approx(pixels, abs=20)


@pytest.mark.parametrize("size", [64, 65, 101, 200])
def test_shapes_and_types(size):
    for seed in range(3):
        made = generate_image(seed, size)
        assert made.image.shape == (size, size, 3)
        assert made.image.dtype == np.uint8
        assert made.labels.shape == (size, size)
        assert made.labels.dtype == np.uint8
        assert made.labels.max() < len(SYNTHETIC_CLASSES)
        assert made.image.std() > 5


@pytest.mark.parametrize("style", STYLES)
def test_rounds_of_seeds_hold_every_kind_and_class(style):
    kinds = STYLES[style].kinds
    made = [drawn(seed, style) for seed in range(2 * len(kinds))]
    assert sorted(each.kind for each in made[: len(kinds)]) == sorted(kinds)
    names = vocabulary_of(style).names
    present = np.zeros(len(names), int)
    for each in made:
        present[np.unique(each.labels)] += 1
    assert (present > 0).all(), dict(zip(names, present, strict=True))


def test_styles_differ_in_layout_and_colour():
    means = {style: np.mean([drawn(s, style).image.mean((0, 1)) for s in SEEDS], axis=0) for style in STYLES}
    warmth = {style: mean[0] - mean[2] for style, mean in means.items()}
    assert warmth["b"] > warmth["a"] + 5
    assert all(not np.array_equal(drawn(s, "a").labels, drawn(s, "b").labels) for s in SEEDS)


def _canvas(gsd: float, size: int = 128) -> Canvas:
    canvas = Canvas(np.random.default_rng(0), size, gsd, 0.4, get_style("a"))
    canvas.labels[:] = Id.PAVEMENT
    return canvas


def _places(kind: str, count: int) -> list[SyntheticImage]:
    """The first images of style d of a kind of place."""
    kinds = (drawn(seed, "d") for seed in range(3 * len(STYLES["d"].kinds)) if _kind_of(seed, get_style("d")) == kind)
    return list(itertools.islice(kinds, count))


@pytest.mark.parametrize(
    ("kind", "shows"),
    [
        ("desert_town", (Id.SOIL, Id.ROAD, Id.TREE)),
        ("settlement", (Id.BUILDING, Id.ROAD, Id.CAR)),
        ("railway", (Id.RAILWAY,)),
        ("greenhouses", (Id.GREENHOUSE,)),
        ("lake", (Id.WATER,)),
    ],
)
def test_places_of_style_d_show_what_they_are_named_after(kind, shows):
    for made in _places(kind, 3):
        fractions = np.bincount(made.labels.ravel(), minlength=len(Id)) / made.labels.size
        assert all(fractions[thing] > 0.002 for thing in shows), (kind, fractions)


@pytest.mark.parametrize("add", [add_heap, add_stack, add_greenhouse])
def test_new_things_are_painted_where_they_are_labelled_and_only_on_free_ground(add):
    canvas = _canvas(0.1)
    canvas.albedo[:] = (0.2, 0.9, 0.2)
    shape = {add_heap: (2.0,), add_stack: (0.3,), add_greenhouse: (0.3, 6.0, 4.0)}[add]
    assert add(canvas, 0.5, -0.5, *shape)
    changed = np.abs(canvas.albedo - np.float32([0.2, 0.9, 0.2])).max(axis=2) > 1e-6
    label = Id.GREENHOUSE if add is add_greenhouse else Id.CLUTTER
    np.testing.assert_array_equal(changed, canvas.labels == label)
    assert changed.any() and (canvas.height[changed] > 0).all()
    assert not add(canvas, 0.6, -0.4, *shape)


@pytest.mark.parametrize("gsd", [0.3, 0.6])
def test_things_have_their_size_in_metres(gsd):
    canvas = _canvas(gsd)
    assert add_court(canvas, 0, 0, 0.3, "tennis", (Id.PAVEMENT,))
    area = (pixel_labels(canvas.labels) == Id.COURT).sum() * gsd**2
    assert area == pytest.approx(34.0 * 17.6, rel=0.03)


def test_what_is_labelled_is_what_is_painted():
    """The mask of a car is where the colour changed, point for point, and nothing else changed."""
    canvas = _canvas(0.1)
    canvas.albedo[:] = (0.2, 0.9, 0.2)
    assert add_car(canvas, 1.0, -2.0, 0.8, (Id.PAVEMENT,))
    changed = np.abs(canvas.albedo - np.float32([0.2, 0.9, 0.2])).max(axis=2) > 1e-6
    np.testing.assert_array_equal(changed, canvas.labels == Id.CAR)


def test_nothing_is_put_on_something_else():
    canvas = _canvas(0.1)
    assert add_car(canvas, 0, 0, 0.0, (Id.PAVEMENT,))
    assert not add_car(canvas, 1.0, 0.5, 0.0, (Id.PAVEMENT,))
    assert not add_car(canvas, 500.0, 0.5, 0.0, (Id.PAVEMENT,))


def test_pixel_takes_the_commonest_class():
    blocks = np.array([[1, 2, 3, 3], [2, 2, 3, 4], [5, 6, 7, 8], [7, 7, 9, 9]], np.uint8)
    np.testing.assert_array_equal(pixel_labels(blocks), [[2, 3], [7, 9]])


def _named(caption: str) -> set[int]:
    """Ids of the classes whose words stand in a caption, longest words first."""
    words = sorted(
        ((name, index) for index, entry in enumerate(WIDE_VOCABULARY) for name in entry.names),
        key=lambda w: -len(w[0]),
    )
    text, found = caption.lower().replace("paved ground", "pavement"), set()
    for name, index in words:
        text, hits = re.subn(rf"\b{name}s?\b", " ", text)
        if hits:
            found.add(index)
    return found


@pytest.mark.parametrize("style", STYLES)
def test_captions_name_what_is_there(style):
    for seed in range(2 * len(SEEDS)):
        made = drawn(seed, style)
        assert len(made.captions) == 5
        present = set(np.unique(made.labels).tolist())
        named = [_named(caption) for caption in made.captions]
        assert all(named), made.captions
        for ids, caption in zip(named, made.captions, strict=True):
            assert ids <= present, (caption, made.kind)
            assert caption.endswith(" .")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((-1, 128, "a"), "negative"), ((0, 32, "a"), "64"), ((0, 128, "z"), "choose one of a, b")],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        generate_image(*arguments)


def test_written_folder_reads_back(tmp_path):
    folder = write_images(tmp_path / "new", "demo", {"train": (3, 2), "val": (100, 1)}, size=64, style="b")
    files = sorted(path.name for path in (folder / "images").iterdir())
    assert files == ["train_0000.png", "train_0001.png", "val_0000.png"]
    expected = generate_image(4, 64, "b")
    np.testing.assert_array_equal(cv2.imread(str(folder / "images/train_0001.png"))[..., ::-1], expected.image)
    labels = cv2.imread(str(folder / "labels_id/train_0001.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(labels, expected.labels)
    records = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]
    assert [record["file"] for record in records] == [f"images/{file}" for file in files]
    assert records[1]["captions"] == expected.captions
    assert records[1]["kind"] == expected.kind


def test_writing_again_does_nothing_and_never_mixes(tmp_path, monkeypatch):
    request = {"splits": {"train": (0, 2)}, "size": 64}
    folder = write_images(tmp_path, "demo", **request)
    monkeypatch.setattr(writer_module, "generate_image", lambda *_: pytest.fail("drawn again"))
    assert write_images(tmp_path, "demo", **request) == folder
    with pytest.raises(InputError, match="style a instead of b"):
        write_images(tmp_path, "demo", **request, style="b")
    (tmp_path / "foreign").mkdir()
    with pytest.raises(InputError, match=r"manifest\.json"):
        write_images(tmp_path, "foreign", **request)


def test_a_broken_run_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("interrupted")

    monkeypatch.setattr(writer_module, "generate_image", fail)
    with pytest.raises(RuntimeError):
        write_images(tmp_path, "demo", {"train": (0, 2)}, size=64)
    assert not list(tmp_path.iterdir())


def test_splits_that_share_seeds_are_found():
    assert not list(overlapping_splits({"train": (0, 10), "val": (10, 5), "test": (15, 1)}))
    found = list(overlapping_splits({"train": (5, 10), "val": (0, 6), "test": (14, 3)}))
    assert found == [("train", "val", 5), ("train", "test", 14)]


@pytest.mark.parametrize(
    ("splits", "message"),
    [({}, "no split"), ({"train": (0, 0)}, "1 or more"), ({"a": (0, 5), "b": (4, 2)}, "share seeds")],
)
def test_wrong_splits(tmp_path, splits, message):
    with pytest.raises(InputError, match=message):
        write_images(tmp_path, "demo", splits, size=64)
    assert not list(tmp_path.iterdir())


def test_processes_write_what_one_process_writes(tmp_path):
    splits = {"train": (0, 16)}
    one = write_images(tmp_path, "one", splits, size=64, workers=1)
    two = write_images(tmp_path, "two", splits, size=64, workers=2)
    assert (one / "captions.jsonl").read_text() == (two / "captions.jsonl").read_text()
    for path in (one / "images").iterdir():
        assert path.read_bytes() == (two / "images" / path.name).read_bytes()


def test_command(tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    arguments = ["--output", str(tmp_path / "out"), "--count", "2", "--size", "64", "--preview", str(sheet)]
    assert main(arguments) == 0
    assert cv2.imread(str(sheet)).shape == (64, 4 * 2 * 64, 3)
    assert main([*arguments, "--style", "z"]) == 2
    assert "style 'z' does not exist" in capsys.readouterr().err
    assert main([*arguments[:-1], "sheet"]) == 2


def test_import_needs_no_detectron2():
    check = "import sys, sgovss.synthetic; sys.exit('detectron2' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
