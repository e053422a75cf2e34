"""Published labels with another suffix than the dataset file says are passed over with a note, not in silence."""

from __future__ import annotations

import zipfile
from importlib import import_module

import numpy as np
import pytest
import yaml
from PIL import Image

MASK = np.zeros((8, 8), np.uint8)


def write(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        kind = {"": "PNG", ".img": "PNG"}.get((folder / name).suffix)
        Image.fromarray(MASK).save(folder / name, kind)


@pytest.fixture
def prepare(tmp_path, capsys):
    def run(labels="m/{*}.png", images="p/{*}.png", **split) -> str:
        raw = {"train": {"images": images, "labels": labels, **split}}
        content = {
            "name": "s",
            "classes": ["grass", "water"],
            "splits": {"train": {"images": "images", "labels": "labels"}},
            "preparation": {"labels": "values", "splits": raw},
        }
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(content))
        argv = [str(tmp_path / "s.yaml"), "--source", str(tmp_path / "raw"), "--root", str(tmp_path / "out")]
        assert import_module("sgovss.commands.prepare").main([*argv, "--workers", "1"]) == 0
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize(("image", "label"), [("1.webp", "1.bmp"), ("1.jpg", "1.tif"), ("1.img", "1.img"), ("1", "1")])
def test_a_pair_of_other_suffixes_is_named(tmp_path, prepare, image, label):
    write(tmp_path / "raw", "p/0.png", "m/0.png", f"p/{image}", f"m/{label}")
    out = prepare()
    assert "published pairs: 1 done, 1 in the source" in out
    assert (
        f"note: 1 files have names of labels but another suffix, such as {tmp_path}/raw/m/{label}; if they are" in out
    )


def test_the_remedy_works(tmp_path, prepare):
    write(tmp_path / "raw", "p/0.png", "m/0.png", "p/1.webp", "m/1.bmp")
    out = prepare(["m/{*}.png", "m/{*}.bmp"], ["p/{*}.png", "p/{*}.webp"])
    assert "published pairs: 2 done" in out and "note" not in out


@pytest.mark.parametrize(
    ("others", "patterns"),
    [
        (["m/0.tif"], {}),  # another version of a label that is there
        (["m/0.PNG.aux.xml", "m/readme.txt", "m/1.json"], {}),  # files beside images
        (["p/1.jpg"], {}),  # an image without a label
        (["m/1.bmp"], {"select": ["0"]}),  # not of the split
        (
            ["d/0.png", "d/0.tif", "d/1.tif"],
            {"labels": "d/{*}.png", "images": "d/{*}.tif"},
        ),  # images in the same folder
    ],
)
def test_what_is_no_label_is_not_named(tmp_path, prepare, others, patterns):
    write(tmp_path / "raw", "p/0.png", "m/0.png")
    for name in others:
        if name.endswith(("xml", "txt", "json")):
            (tmp_path / "raw" / name).write_text("{}")
        else:
            write(tmp_path / "raw", name)
    assert "another suffix" not in prepare(**patterns)


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".TIFF"])
def test_members_of_archives_are_named(tmp_path, prepare, suffix):
    write(tmp_path / "raw", "p/0.png", "m/0.png")
    with zipfile.ZipFile(tmp_path / "raw/more.zip", "w") as archive:
        archive.writestr(f"m/1{suffix}", "x")
    assert f"such as {tmp_path}/raw/more.zip!m/1{suffix}; if" in prepare()
