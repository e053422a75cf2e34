"""The subcommands of ``python -m research.pretraining``. Each function takes the parsed arguments."""

from __future__ import annotations

import argparse
import logging
import math
from dataclasses import fields
from pathlib import Path

import torch

from research.pretraining.evaluation import ZeroShot
from research.pretraining.image_encoder import (
    create_embedded,
    load_image_encoder,
    load_imagenet_weights,
    save_image_encoder,
    tower_of,
)
from research.pretraining.manifests import Record, decode_all, read_manifest, split
from research.pretraining.nouns import NounTable
from research.pretraining.pool import ImagePool
from research.pretraining.regions import STRIDE, Regions, read_banepa, read_synthetic
from research.pretraining.scorecard import JSON_FILE, TABLE_FILE, measure, write_scorecards
from research.pretraining.sources import allowed_sources
from research.pretraining.synthetic_crops import collect_crops, name_crops
from research.pretraining.texts import TextTable
from research.pretraining.training import Pretraining, Recipe
from sgovss.errors import InputError
from sgovss.modeling.clip_configuration import ASSETS, EMBEDDED_MODEL
from sgovss.modeling.open_clip_models import ClipModel, Tokenizer, create_tokenizer
from sgovss.synthetic import SYNTHETIC_CLASSES

WEIGHTS = ASSETS / "image_tower.safetensors"

logger = logging.getLogger("research.pretraining")


def train(arguments: argparse.Namespace) -> None:
    """Train an image encoder and write OUTPUT/image_tower.safetensors."""
    _check_sizes(arguments)
    device = torch.device(arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    recipe = _recipe(arguments, device)
    records = _training_records(arguments)
    torch.manual_seed(recipe.seed)
    model = create_embedded(recipe.tower).eval()
    if arguments.start is None:
        load_imagenet_weights(model.visual.trunk, recipe.tower)
    else:
        load_image_encoder(model.visual, arguments.start)
    tokenizer = create_tokenizer(EMBEDDED_MODEL)
    texts = TextTable(records, model, tokenizer)
    logger.info("%d images, %d distinct texts, on %s", len(records), len(texts.texts), device)
    nouns = NounTable(records, model, tokenizer) if recipe.noun_weight else None
    images = ImagePool(decode_all([record.image for record in records]))
    regions = _regions(arguments, recipe, model, tokenizer)
    run = Pretraining(model.visual, images, texts, nouns, regions, recipe, device)
    checkpoint = arguments.output / "checkpoint.pt"
    if checkpoint.exists():
        run.resume(checkpoint)
        logger.info("continuing at step %d", run.step)
    run.run(checkpoint, arguments.checkpoint_every)
    weights = arguments.output / WEIGHTS.name
    facts = {"command": arguments.command_line, "seed": str(recipe.seed), "tower": recipe.tower}
    save_image_encoder(run.result, weights, facts)
    logger.info("wrote %s", weights)


def _check_sizes(arguments: argparse.Namespace) -> None:
    if len(arguments.manifest) != len(arguments.images):
        raise InputError("--manifest and --images: give them in pairs, one folder for each manifest")
    if not arguments.manifest and arguments.data is None:
        raise InputError("no images: give --data, or --manifest and --images")
    if arguments.real_count and arguments.data is None:
        raise InputError(f"--real-count {arguments.real_count}: its images are in the data folder; give --data too")
    if min(arguments.mosaic_sides) < 2:
        raise InputError(f"--mosaic-sides {min(arguments.mosaic_sides)}: give 2 or more")
    multiple = STRIDE * math.lcm(*arguments.mosaic_sides)
    if arguments.size % multiple:
        raise InputError(
            f"--size {arguments.size}: give a multiple of {multiple}, because each tile of a mosaic must be a multiple "
            f"of the stride, {STRIDE}"
        )


def _recipe(arguments: argparse.Namespace, device: torch.device) -> Recipe:
    settings = {field.name: getattr(arguments, field.name) for field in fields(Recipe) if field.name in arguments}
    settings["mosaic_sides"] = tuple(arguments.mosaic_sides)
    settings["bfloat16"] = arguments.bfloat16 or device.type == "cuda"
    return Recipe(**settings)


def _regions(arguments: argparse.Namespace, recipe: Recipe, model: ClipModel, tokenizer: Tokenizer) -> Regions | None:
    sets, counts = [], []
    if arguments.synthetic:
        sets.append(read_synthetic(arguments.synthetic))
        counts.append(recipe.synthetic_count)
    if recipe.real_count:
        sets.append(read_banepa(arguments.data))
        counts.append(recipe.real_count)
    return Regions(sets, counts, model, tokenizer, recipe.smallest_tile, recipe.coarsest) if sets else None


def _training_records(arguments: argparse.Namespace) -> list[Record]:
    parts = [
        (str(manifest), *split(read_manifest(manifest, root)))
        for manifest, root in zip(arguments.manifest, arguments.images, strict=True)
    ]
    if arguments.data is not None:
        parts += [(source.folder, *source.records(arguments.data)) for source in allowed_sources(arguments.licence)]
    for name, training, held_out in parts:
        logger.info("%s: %d images to train on, %d held out", name, len(training), len(held_out))
    return [record for _, training, _ in parts for record in training]


def average(arguments: argparse.Namespace) -> None:
    """Write the mean of several image encoders that were trained from the same weights."""
    if len(arguments.weights) < 2:
        raise InputError("--weights: give two files or more")
    tower = tower_of(arguments.weights[0])
    models = [create_embedded(tower) for _ in arguments.weights]
    for model, path in zip(models, arguments.weights, strict=True):
        load_image_encoder(model.visual, path)
    states = [model.visual.state_dict() for model in models]
    mean = {key: sum(state[key] for state in states) / len(states) for key in states[0]}
    models[0].visual.load_state_dict(mean)
    save_image_encoder(models[0].visual, arguments.output, {"command": arguments.command_line, "tower": tower})
    logger.info("wrote %s", arguments.output)


def evaluate(arguments: argparse.Namespace) -> None:
    """Measure one or more image encoders zero-shot, and write scorecard.json and scorecard.md side by side."""
    names = arguments.names or [path.stem for path in arguments.weights]
    if len(names) != len(arguments.weights) or len(set(names)) < len(names):
        raise InputError("--names: give one name for each file of --weights, all different")
    cards = {}
    for name, path in zip(names, arguments.weights, strict=True):
        cards[name] = measure(path, load_zero_shot(path), arguments.data)
        print(f"{name}: {', '.join(f'{key} {value}' for key, value in cards[name].items())}", flush=True)
    if arguments.output is not None:
        write_scorecards(cards, arguments.output, arguments.command_line)
        print(f"wrote {arguments.output / JSON_FILE} and {arguments.output / TABLE_FILE}")


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
    model = create_embedded(tower_of(weights))
    load_image_encoder(model.visual, weights)
    return ZeroShot(model, create_tokenizer(EMBEDDED_MODEL))
