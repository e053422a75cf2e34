"""Real samples, prepared from the layouts they are published in, pixel by pixel."""

from __future__ import annotations

import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sgovss.data.label_map import LabelMap
from sgovss.data.raw_labels import RawLabels
from sgovss.data.specification_file import find_specification


def _arrange(real_data: Path, source: Path, name: str) -> dict[str, Path]:
    """Real samples in the published layout; name of each pair -> the file of ids that was derived from it."""

    def put(file: Path, *places: str) -> None:
        for place in places:
            (source / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, source / place)

    if name == "loveda":
        for n in "012":
            put(real_data / f"loveda_sample/img_dir/{n}.png", f"Train/Rural/images_png/{n}.png")
            put(real_data / f"loveda_sample/ann_dir/{n}.png", f"Train/Rural/masks_png/{n}.png")
        return {f"Rural_{n}": real_data / f"loveda_sample/ann_dir/{n}.png" for n in "012"}
    shutil.copytree(real_data / "isaid_sample", source, dirs_exist_ok=True)
    return {"P0005": real_data / "isaid_sample/train/labels_id/P0005.png"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("loveda", lambda raw: np.where(raw == 0, 255, raw.astype(int) - 1)),
        ("loveda_with_no_data", lambda raw: raw),
        ("isaid", lambda raw: np.where(raw == 0, 255, raw.astype(int) - 1)),
        ("isaid_with_background", lambda raw: raw),
    ],
)
def test_real_labels_pixel_by_pixel(real_data, load_script, tmp_path, capsys, name, expected):
    derived = _arrange(real_data, tmp_path / "download", name.partition("_")[0])
    argv = [name, "--source", str(tmp_path / "download"), "--root", str(tmp_path / "root"), "--splits", "train"]
    assert import_module("sgovss.commands.prepare").main([*argv, "--workers", "1"]) == 0
    capsys.readouterr()
    labels = sorted((tmp_path / "root").rglob("labels/*.png"))
    assert labels
    label_map = LabelMap.from_specification(find_specification(name))
    for file in labels:
        pair, *window = file.stem.rsplit("_", 4) if name.startswith("isaid") else [file.stem]
        whole = expected(np.asarray(Image.open(derived[pair])))
        top, bottom, left, right = map(int, window or (0, whole.shape[0], 0, whole.shape[1]))
        ids = label_map(np.asarray(Image.open(file)), file)
        assert (ids == whole[top:bottom, left:right]).all(), file


def test_real_colours_of_dubai(real_data, load_script, tmp_path):
    argv = ["dubai_mbrsc", "--source", str(real_data / "dubai_mbrsc"), "--root", str(tmp_path), "--splits", "val"]
    assert import_module("sgovss.commands.prepare").main([*argv, "--workers", "1"]) == 0
    files = sorted((tmp_path / "dubai_mbrsc/labels_id").iterdir())
    assert len(files) == 9
    for file in files:
        derived = Image.open(real_data / "dubai_mbrsc/labels_id" / file.name)
        assert (np.asarray(Image.open(file)) == np.asarray(derived)).all(), file


def test_real_colours_of_udd6(real_data):
    spec = find_specification("udd6")
    spec = spec.model_copy(update={"preparation": spec.preparation.model_copy(update={"labels": "colors"})})
    mask = real_data / "udd_sample/DJI_0627_mask_udd6.png"
    ids = RawLabels(spec).read(mask.read_bytes(), str(mask))
    assert (ids == np.asarray(Image.open(real_data / "udd_sample/DJI_0627_udd6_id.png"))).all()
