"""The subcommands of ``python -m research.pretraining``. Each function takes the parsed arguments."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch

from research.pretraining.evaluation import DENSE_SETS, ZeroShot, dense_iou, scene_accuracy
from research.pretraining.image_encoder import load_image_encoder, load_imagenet_weights, save_image_encoder
from research.pretraining.manifests import Record, load, read_manifest, split
from research.pretraining.regions import Regions
from research.pretraining.synthetic_crops import collect_crops, name_crops
from research.pretraining.texts import TextTable
from research.pretraining.training import Pretraining, Recipe
from sgovss.errors import InputError
from sgovss.modeling.clip_configuration import ASSETS, EMBEDDED_MODEL
from sgovss.modeling.open_clip_models import create_model, create_tokenizer
from sgovss.synthetic import SYNTHETIC_CLASSES

WEIGHTS = ASSETS / "image_tower.safetensors"

logger = logging.getLogger("research.pretraining")


def train(arguments: argparse.Namespace) -> None:
    """Train an image encoder and write OUTPUT/image_tower.safetensors."""
    if len(arguments.manifest) != len(arguments.images):
        raise InputError("--manifest and --images: give them in pairs, one folder for each manifest")
    if arguments.size % 64:
        raise InputError(f"--size {arguments.size}: give a multiple of 64, twice the stride, because mosaics halve it")
    recipe = Recipe(
        steps=arguments.steps,
        batch=arguments.batch,
        size=arguments.size,
        seed=arguments.seed,
        mosaic_fraction=arguments.mosaic_fraction,
        smallest=arguments.smallest,
        synthetic=Recipe.synthetic if arguments.synthetic else 0,
    )
    records = _training_records(arguments)
    torch.manual_seed(recipe.seed)
    model = create_model(EMBEDDED_MODEL).eval()
    if arguments.start is None:
        load_imagenet_weights(model.visual.trunk)
    else:
        load_image_encoder(model.visual, arguments.start)
    tokenizer = create_tokenizer(EMBEDDED_MODEL)
    texts = TextTable(records, model, tokenizer)
    logger.info("%d distinct texts", len(texts.texts))
    folders = arguments.synthetic
    regions = Regions(folders, model, tokenizer, recipe.smallest_tile) if folders else None
    run = Pretraining(model.visual, load(records), texts, regions, recipe)
    checkpoint = arguments.output / "checkpoint.pt"
    if checkpoint.exists():
        run.resume(checkpoint)
        logger.info("continuing at step %d", run.step)
    run.run(checkpoint, arguments.checkpoint_every)
    weights = arguments.output / WEIGHTS.name
    save_image_encoder(model.visual, weights, {"command": arguments.command_line, "seed": str(recipe.seed)})
    logger.info("wrote %s", weights)


def _training_records(arguments: argparse.Namespace) -> list[Record]:
    records = []
    for manifest, root in zip(arguments.manifest, arguments.images, strict=True):
        training, held_out = split(read_manifest(manifest, root))
        logger.info("%s: %d images to train on, %d held out", manifest, len(training), len(held_out))
        records += training
    return records


def average(arguments: argparse.Namespace) -> None:
    """Write the mean of several image encoders that were trained from the same weights."""
    if len(arguments.weights) < 2:
        raise InputError("--weights: give two files or more")
    models = [create_model(EMBEDDED_MODEL) for _ in arguments.weights]
    for model, path in zip(models, arguments.weights, strict=True):
        load_image_encoder(model.visual, path)
    states = [model.visual.state_dict() for model in models]
    mean = {key: sum(state[key] for state in states) / len(states) for key in states[0]}
    models[0].visual.load_state_dict(mean)
    save_image_encoder(models[0].visual, arguments.output, {"command": arguments.command_line})
    logger.info("wrote %s", arguments.output)


def evaluate(arguments: argparse.Namespace) -> None:
    """Print the scene accuracy on the held-out fifth of UC Merced, and zero-shot mIoU on two datasets."""
    zero_shot = load_zero_shot(arguments.weights)
    ucm = arguments.data / "ucm"
    _, held_out = split(read_manifest(ucm / "captions_ucm.jsonl", ucm))
    accuracy = scene_accuracy(zero_shot, held_out)
    print(f"UC Merced, held-out fifth ({len(held_out)} images, 21 scenes): accuracy {accuracy:.1f} %")
    for dense in DENSE_SETS:
        for kind, names in (("several names", dense.several_names), ("plain names", dense.plain_names)):
            miou, per_class, count = dense_iou(zero_shot, arguments.data / dense.folder, names)
            shown = ", ".join(
                f"{n} {'-' if v is None else f'{v:.1f}'}" for n, v in zip(names.names, per_class, strict=True)
            )
            print(f"{dense.title} ({count} images), {kind}: mIoU {miou:.1f} ({shown})", flush=True)


def name_single_class_crops(arguments: argparse.Namespace) -> None:
    """Print the fraction of single-class crops of synthetic images to which the model gives the right class."""
    crops = list(collect_crops(arguments.seed, arguments.count, arguments.size, arguments.style))
    tally = name_crops(load_zero_shot(arguments.weights), crops)
    chance = 100 / len(SYNTHETIC_CLASSES)
    for name, (right, total) in tally.items():
        print(f"{name}: {100 * right / total:.0f} % of {total} crops")
    balanced = sum(100 * right / total for right, total in tally.values()) / len(tally)
    overall = 100 * sum(right for right, _ in tally.values()) / len(crops)
    print(f"{len(crops)} crops: {overall:.1f} % right, mean over classes {balanced:.1f} % (chance {chance:.1f} %)")


def load_zero_shot(weights: Path) -> ZeroShot:
    """Load the embedded model with the image encoder of a weight file."""
    model = create_model(EMBEDDED_MODEL)
    load_image_encoder(model.visual, weights)
    return ZeroShot(model, create_tokenizer(EMBEDDED_MODEL))
