"""Every command, dataset file and Python example that README shows works."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from sgovss.config import load_config
from sgovss.data.listing import dataset_folder
from sgovss.data.specification_fields import SplitSpecification
from sgovss.data.specification_file import find_specification, load_specification
from sgovss.engine.checkpoint import save_inference_checkpoint
from sgovss.modeling import build_model
from sgovss.synthetic import generate_image

README = Path(__file__).resolve().parent.parent / "README.md"

RUN_ELSEWHERE = {
    "make demo": ".ci/run runs it",
    "make test": ".ci/run runs it",
    "pip install '.[all]'": "tests/test_installed.py installs the wheel",
}
CHECKPOINT = "output/demo/fine-tuned/model_inference.pth"
# A laptop cannot train full-size models; the commands run as shown, with these options at their end.
TINY_MODEL = ["MODEL.CLIP.NAME", "tiny", "MODEL.CLIP.WEIGHTS", "random", "MODEL.CLIP.TUNING", "full"]
ON_CPU = ["MODEL.DEVICE", "cpu"]
SHORT_TRAINING = [
    *("INPUT.CROP.SIZE", "[64,64]", "INPUT.MIN_SIZE_TRAIN", "(64,)", "DATALOADER.NUM_WORKERS", "0"),
    *("SOLVER.MAX_ITER", "2", "SOLVER.IMS_PER_BATCH", "4"),
]


def blocks(language: str) -> list[str]:
    """The code blocks of one language, without their indentation."""
    text = README.read_text(encoding="utf-8")
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return ["\n".join(line.removeprefix(indent) for line in block.splitlines()) for indent, block in found]


def commands() -> list[str]:
    """The command lines of all shell blocks, without comments."""
    lines = "\n".join(blocks("sh")).replace("\\\n", " ").splitlines()
    return [" ".join(re.sub(r"\s+# .*", "", line).split()) for line in lines if line.strip()]


def test_readme_has_commands_of_every_kind():
    subcommands = {line.split("sgovss ")[1].split()[0] for line in commands() if "sgovss " in line}
    assert {"segment", "app", "train", "prepare", "check", "export", "convert", "benchmark"} <= subcommands
    assert set(RUN_ELSEWHERE) <= set(commands())


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every file that the commands name."""
    folder = tmp_path_factory.mktemp("workspace")
    photo = generate_image(70_001, 128, "b").image
    Image.fromarray(photo).save(folder / "photo.jpg")
    (folder / "a_folder").mkdir()
    Image.fromarray(photo[:80]).save(folder / "a_folder" / "other.png")
    (folder / "words.txt").write_text("building|house\nroad\nwater\n")
    write_county(folder)
    write_model(folder / CHECKPOINT, "sgovss_tiny.yaml", ON_CPU)
    write_model(folder / "model_final.pth", "protocols/ovrs_dlrsd.yaml", [*TINY_MODEL, *ON_CPU])
    torch.manual_seed(0)
    write_remoteclip(folder / "RemoteCLIP-ViT-B-32.pt")
    write_fields(folder)
    write_published(folder)
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    for name, arguments in (("sgovss", "-m sgovss"), ("python", "")):
        script = bin_folder / name
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {arguments} "$@"\n')
        script.chmod(0o755)
    return folder


def write_county(folder: Path) -> None:
    """A raster of four 16-bit bands, and a polygon that covers most of it."""
    import pyogrio
    import rasterio
    import shapely
    from rasterio.transform import from_origin

    bands = np.random.default_rng(0).integers(0, 4000, (4, 150, 200), dtype=np.uint16)
    place = {"crs": "EPSG:32632", "transform": from_origin(500_000, 5_300_000, 0.5, 0.5)}
    profile = {"driver": "GTiff", "height": 150, "width": 200, "count": 4, "dtype": "uint16"}
    with rasterio.open(folder / "county.tif", "w", **profile, **place) as raster:
        raster.write(bands)
    district = shapely.box(500_005, 5_299_930, 500_090, 5_299_995)
    pyogrio.raw.write(
        folder / "district.gpkg", geometry=np.array([shapely.to_wkb(district)], object), field_data=[], fields=[],
        geometry_type="Polygon", crs="EPSG:32632", driver="GPKG",
    )  # fmt: skip


def write_model(path: Path, config: str, options: list[str]) -> None:
    """An inference checkpoint of a config's model as it is before training."""
    cfg = load_config(config, options)
    cfg.MODEL.SGOVSS.COMPENSATION.ENABLED = False
    path.parent.mkdir(parents=True, exist_ok=True)
    save_inference_checkpoint(build_model(cfg), cfg, path)


def write_remoteclip(path: Path) -> None:
    """Random weights of the architecture that a file of this name has."""
    from sgovss.modeling.open_clip_models import create_model

    torch.save({key: value.half() for key, value in create_model("ViT-B-32").state_dict().items()}, path)


def write_fields(folder: Path) -> None:
    """README's dataset file and its raw data, to be prepared."""
    (folder / "fields.yaml").write_text("\n".join(blocks("yaml")))
    raw = folder / "downloads" / "raw"
    raw.mkdir(parents=True)
    colors = np.array([[225, 200, 70], [40, 100, 200]], np.uint8)
    for seed, name in enumerate(("a_0", "b_0")):
        ids = np.kron(np.random.default_rng(seed).integers(0, 2, (13, 14)), np.ones((40, 40), int))
        Image.fromarray(colors[ids]).save(raw / f"{name}.tif")
        Image.fromarray(colors[ids]).save(raw / f"{name}_mask.png")


def write_published(folder: Path) -> None:
    """A few random pairs for each dataset that the training commands name, and ``my.yaml``."""
    my = {
        "name": "my",
        "classes": [{"name": "building"}, {"name": "road"}],
        "splits": {name: {"images": name, "labels": f"{name}_labels"} for name in ("train", "val")},
    }
    (folder / "my.yaml").write_text(yaml.safe_dump(my))
    shipped = (find_specification(name) for name in ("dubai_mbrsc", "dronedeploy_sample", "dlrsd", "loveda"))
    for spec in (load_specification(folder / "my.yaml"), *shipped):
        for split in spec.splits.values():
            write_pairs(dataset_folder(spec, folder / "datasets"), split, spec.values)


def write_pairs(folder: Path, split: SplitSpecification, values: Sequence[Sequence[int]]) -> None:
    """Four pairs for each pattern that selects a split's files."""
    for number, pattern in itertools.product(range(4), split.select):
        key = pattern.replace("*", f"image_{number}")
        ids = np.random.default_rng(number).integers(0, len(values), (64, 64))
        label = np.array([own[0] for own in values], np.uint8)[ids]
        image = np.repeat(label[..., None], 3, 2)
        parts = ((split.images, image, split.image_suffix), (split.labels, label, split.label_suffix))
        for (first, *_), pixels, suffix in parts:
            path = folder / first / f"{key}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)


def environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(README.parent),
        "HOME": str(folder),
        "DETECTRON2_DATASETS": str(folder / "datasets"),
        "SGOVSS_DATASETS": str(folder / "my.yaml"),
    }


def adapted(line: str) -> str:
    """The command with options that fit a small machine; everything that README shows stays."""
    line = line.replace("DETECTRON2_DATASETS=/data ", "")
    if " train " in line:
        options = TINY_MODEL if "protocols/" in line or "convnext" in line else []
        return f"{line} {shlex.join([*options, *SHORT_TRAINING, *ON_CPU])}"
    if " app " in line:
        return f"{line} --port 0"
    return line


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in commands() if line not in RUN_ELSEWHERE])
def test_command_works(workspace: Path, line: str) -> None:
    """In the order of README, since later commands use what earlier ones wrote."""
    if " app " in line:
        serve_and_fetch(workspace, adapted(line))
        return
    done = subprocess.run(
        adapted(line),
        shell=True,
        cwd=workspace,
        env=environment(workspace),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
    assert "Traceback" not in done.stderr


def serve_and_fetch(folder: Path, line: str) -> None:
    server = subprocess.Popen(
        shlex.split(line),
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        address = server.stdout.readline().split()[0]
        with urllib.request.urlopen(address, timeout=60) as answer:
            assert answer.status == 200 and b"<html" in answer.read()
    finally:
        server.terminate()
        started = time.monotonic()
        server.communicate(timeout=60)
        assert time.monotonic() - started < 60


@pytest.mark.slow
def test_python_example_works(workspace: Path) -> None:
    (example,) = blocks("python")
    program = "import numpy\nimage = numpy.zeros((64, 80, 3), numpy.uint8)\n" + example
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=workspace, env=environment(workspace), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
