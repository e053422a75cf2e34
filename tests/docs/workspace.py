"""A folder with every file that the commands of the docs name, made small."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

from sgovss.config import load_config
from sgovss.data.listing import dataset_folder
from sgovss.data.specification import DatasetSpecification
from sgovss.data.specification_fields import SplitSpecification
from sgovss.data.specification_file import find_specification, load_specification
from sgovss.engine.checkpoint import save_inference_checkpoint
from sgovss.modeling import build_model
from sgovss.paths import dataset_files
from sgovss.synthetic import generate_image
from tests.docs.blocks import CHECKOUT, blocks

# A laptop cannot train full-size models; the commands run as shown, with these options at their end.
TINY_MODEL = ["MODEL.CLIP.NAME", "tiny", "MODEL.CLIP.WEIGHTS", "random", "MODEL.CLIP.TUNING", "full"]
ON_CPU = ["MODEL.DEVICE", "cpu"]
FEW_IMAGES = ["DATASETS.TRAIN", "('drawn_train',)", "DATASETS.TEST", "('drawn_test',)"]
SHORT_TRAINING = [
    *("INPUT.CROP.SIZE", "[64,64]", "INPUT.MIN_SIZE_TRAIN", "(64,)", "DATALOADER.NUM_WORKERS", "0"),
    *("SOLVER.MAX_ITER", "2", "SOLVER.IMS_PER_BATCH", "4"),
]


def write_models(folder: Path) -> None:
    """Weights under the names of the docs: models before training, and random CLIP weights."""
    write_model(folder / "output/demo/fine-tuned/model_inference.pth", "sgovss_tiny.yaml", ON_CPU)
    write_model(folder / "model_final.pth", "protocols/ovrs_dlrsd.yaml", [*TINY_MODEL, *ON_CPU])
    write_remoteclip(folder / "RemoteCLIP-ViT-B-32.pt")


def write_model(path: Path, config: str, options: list[str]) -> None:
    """An inference checkpoint of a config's model as it is before training."""
    cfg = load_config(config, options)
    cfg.MODEL.SGOVSS.COMPENSATION.ENABLED = False
    path.parent.mkdir(parents=True, exist_ok=True)
    save_inference_checkpoint(build_model(cfg), cfg, path)


def write_remoteclip(path: Path) -> None:
    """Random weights of the architecture that a file of this name has."""
    from sgovss.modeling.open_clip_models import create_model

    torch.manual_seed(0)
    torch.save({key: value.half() for key, value in create_model("ViT-B-32").state_dict().items()}, path)


def write_inputs(folder: Path, page: str) -> None:
    """Photographs, rasters, words and datasets; the dataset file is that of the page, if it has one."""
    photo = generate_image(70_001, 128, "b").image
    Image.fromarray(photo).save(folder / "photo.jpg")
    (folder / "a_folder").mkdir()
    Image.fromarray(photo[:80]).save(folder / "a_folder" / "other.png")
    (folder / "words.txt").write_text("building|house\nroad\nwater\n")
    write_rasters(folder)
    write_datasets(folder)
    if page == "docs/models.md":
        write_run(folder / "output/sgovss_tiny", folder / "output/demo/fine-tuned/model_inference.pth")
    text = "\n".join(block.text for block in blocks("yaml", pages=(page,)))
    if "splits:" in text:
        (folder / "fields.yaml").write_text(text)
        write_fields(folder, load_specification(folder / "fields.yaml"))


def write_run(folder: Path, weights: Path) -> None:
    """What a training with an evaluation leaves: a checkpoint and scores."""
    (folder / "evaluation").mkdir(parents=True)
    os.link(weights, folder / "model_final.pth")
    scores = {"images": 60, "mIoU": 25.0, "seen_mIoU": 30.0, "unseen_mIoU": 20.0, "harmonic_mIoU": 24.0}
    (folder / "evaluation" / "generated_scenes_test.json").write_text(json.dumps(scores))


def write_rasters(folder: Path) -> None:
    """Rasters of four 16-bit bands, a folder with one, regions, and a polygon that covers most of them."""
    import pyogrio
    import rasterio
    import shapely
    from rasterio.transform import from_origin

    bands = np.random.default_rng(0).integers(0, 4000, (4, 150, 200), dtype=np.uint16)
    place = {"crs": "EPSG:32632", "transform": from_origin(500_000, 5_300_000, 0.5, 0.5)}
    profile = {"driver": "GTiff", "height": 150, "width": 200, "count": 4, "dtype": "uint16"}
    (folder / "scenes").mkdir()
    for name in ("county.tif", "north.tif", "south.tif", "scenes/one.tif"):
        with rasterio.open(folder / name, "w", **profile, **place) as raster:
            raster.write(bands)
    regions = np.kron(np.arange(1, 13).reshape(3, 4), np.ones((50, 50))).astype(np.uint16)
    with rasterio.open(folder / "masks.tif", "w", **profile | {"count": 1}, **place) as raster:
        raster.write(regions, 1)
    district = shapely.box(500_005, 5_299_930, 500_090, 5_299_995)
    pyogrio.raw.write(
        folder / "district.gpkg", geometry=np.array([shapely.to_wkb(district)], object), field_data=[], fields=[],
        geometry_type="Polygon", crs="EPSG:32632", driver="GPKG",
    )  # fmt: skip


def write_fields(folder: Path, spec: DatasetSpecification) -> None:
    """Raw data if the dataset file says how to prepare them, else prepared pairs."""
    if spec.preparation is None:
        for split in spec.splits.values():
            write_pairs(dataset_folder(spec, folder / "datasets"), split, spec.values)
        return
    raw = folder / "downloads" / "raw"
    raw.mkdir(parents=True)
    colors = np.array([own.color for own in spec.classes], np.uint8)
    for seed, name in enumerate(("a_0", "b_0")):
        ids = np.kron(np.random.default_rng(seed).integers(0, 2, (13, 14)), np.ones((40, 40), int))
        Image.fromarray(colors[ids]).save(raw / f"{name}.tif")
        Image.fromarray(colors[ids]).save(raw / f"{name}_mask.png")


def write_datasets(folder: Path) -> None:
    """A few random pairs for each dataset that the training commands name, ``my.yaml``, and few drawn images."""
    drawn = yaml.safe_load(shipped_file("generated_scenes").read_text(encoding="utf-8")) | {"name": "drawn"}
    for number, (name, split) in enumerate(drawn["splits"].items()):
        split["count"] = 4
        drawn["generator"]["splits"][name] = [100 * number, 4]
    drawn["generator"]["size"] = 64
    (folder / "drawn.yaml").write_text(yaml.safe_dump(drawn))
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


def shipped_file(name: str) -> Path:
    """The dataset file of this name that comes with sgovss."""
    return next(file for file in dataset_files() if file.stem == name)


def write_pairs(folder: Path, split: SplitSpecification, values: Sequence[Sequence[int]]) -> None:
    """Four pairs for each pattern that selects a split's files."""
    for number, pattern in itertools.product(range(4), split.select):
        key = pattern.replace("*", f"image_{number}")
        ids = np.random.default_rng(list(key.encode())).integers(0, len(values), (64, 64))
        label = np.array([own[0] for own in values], np.uint8)[ids]
        image = np.repeat(label[..., None], 3, 2)
        parts = ((split.images, image, split.image_suffix), (split.labels, label, split.label_suffix))
        for (first, *_), pixels, suffix in parts:
            path = folder / first / f"{key}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)


def variables(folder: Path) -> dict[str, str]:
    """Environment variables of commands that run in the folder."""
    return {
        **os.environ,
        "PYTHONPATH": str(CHECKOUT),
        "HOME": str(folder),
        "DETECTRON2_DATASETS": str(folder / "datasets"),
        "SGOVSS_DATASETS": os.pathsep.join(str(folder / name) for name in ("my.yaml", "drawn.yaml")),
    }


def adapted(arguments: list[str]) -> list[str]:
    """The arguments with options that fit a small machine; everything that the docs show stays."""
    if arguments[0] in ("train", "evaluate"):
        full_size = any("protocols/" in word or "convnext" in word for word in arguments)
        own_data = "sgovss_tiny.yaml" in arguments and not any("DATASETS." in word for word in arguments)
        short = SHORT_TRAINING if arguments[0] == "train" else []
        return [*arguments, *(TINY_MODEL if full_size else []), *(FEW_IMAGES if own_data else []), *short, *ON_CPU]
    return [*arguments, "--port", "0"] if arguments[0] == "app" else arguments
