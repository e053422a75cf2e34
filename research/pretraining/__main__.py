r"""Pre-train and judge the embedded vision-language model.

    python -m sgovss.synthetic --output output/pretraining_scenes --count 1600 --seed 1000000 --style a
    python -m research.pretraining train --manifest captions_ucm.jsonl --images ucm \
        --scenes output/pretraining_scenes --output output/tiny_vlm
    python -m research.pretraining average --weights A.safetensors B.safetensors --output mean.safetensors
    python -m research.pretraining evaluate --data DATA
    python -m research.pretraining name-scenes

A manifest is a jsonl file with ``{"file", "captions"}`` a line and optionally ``class`` (the scene's name); files are
relative to its ``--images`` folder. Generated scenes are optional; their regions are named after their masks.
Run ``train`` again after an interruption and it goes on where the last checkpoint stands.
"""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from research.pretraining.evaluation import DENSE_SETS, ZeroShot, dense_iou, scene_accuracy
from research.pretraining.image_tower import load_image_tower, load_imagenet_weights, save_image_tower
from research.pretraining.manifests import load, read_manifest, split
from research.pretraining.regions import Regions
from research.pretraining.scene_crops import collect_crops, name_crops
from research.pretraining.texts import TextTable
from research.pretraining.training import Pretraining, Recipe
from sgovss.allocator import keep_freed_memory
from sgovss.errors import InputError, command
from sgovss.modeling.clip_models import ASSETS, EMBEDDED_MODEL, create_model, create_tokenizer
from sgovss.synthetic import SYNTHETIC_CLASSES

WEIGHTS = ASSETS / "image_tower.safetensors"

logger = logging.getLogger("pretrain_tiny_vlm")


def train(arguments: argparse.Namespace) -> None:
    """Train a tower and write OUTPUT/image_tower.safetensors."""
    if len(arguments.manifest) != len(arguments.images):
        raise InputError("--manifest and --images: give them in pairs, one folder for each manifest")
    if arguments.size % 64:
        raise InputError(f"--size {arguments.size}: give a multiple of 64, as a mosaic's tile must fill whole cells")
    recipe = Recipe(
        steps=arguments.steps,
        batch=arguments.batch,
        size=arguments.size,
        seed=arguments.seed,
        mosaic_share=arguments.mosaic_share,
        smallest=arguments.smallest,
        scenes=Recipe.scenes if arguments.scenes else 0,
    )
    records = []
    for manifest, root in zip(arguments.manifest, arguments.images, strict=True):
        training, held_out = split(read_manifest(manifest, root))
        logger.info("%s: %d images to train on, %d held out", manifest, len(training), len(held_out))
        records += training
    torch.manual_seed(recipe.seed)
    model = create_model(EMBEDDED_MODEL).eval()
    if arguments.start is None:
        load_imagenet_weights(model.visual.trunk)
    else:
        load_image_tower(model.visual, arguments.start)
    tokenizer = create_tokenizer(EMBEDDED_MODEL)
    texts = TextTable(records, model, tokenizer)
    logger.info("%d distinct texts", len(texts.texts))
    regions = Regions(arguments.scenes, model, tokenizer, recipe.smallest_tile) if arguments.scenes else None
    run = Pretraining(model.visual, load(records), texts, regions, recipe)
    checkpoint = arguments.output / "checkpoint.pt"
    if checkpoint.exists():
        run.resume(checkpoint)
        logger.info("continuing at step %d", run.step)
    run.run(checkpoint, arguments.checkpoint_every)
    weights = arguments.output / WEIGHTS.name
    save_image_tower(model.visual, weights, {"command": arguments.command_line, "seed": str(recipe.seed)})
    logger.info("wrote %s", weights)


def average(arguments: argparse.Namespace) -> None:
    """Write the mean of several towers that started from the same weights; it is often better than each."""
    if len(arguments.weights) < 2:
        raise InputError("--weights: give two files or more")
    models = [create_model(EMBEDDED_MODEL) for _ in arguments.weights]
    for model, path in zip(models, arguments.weights, strict=True):
        load_image_tower(model.visual, path)
    states = [model.visual.state_dict() for model in models]
    mean = {key: sum(state[key] for state in states) / len(states) for key in states[0]}
    models[0].visual.load_state_dict(mean)
    save_image_tower(models[0].visual, arguments.output, {"command": arguments.command_line})
    logger.info("wrote %s", arguments.output)


def evaluate(arguments: argparse.Namespace) -> None:
    """Print scene accuracy on the held-out fifth of UC Merced, and dense zero-shot mIoU."""
    zero_shot = _zero_shot(arguments.weights)
    ucm = arguments.data / "ucm"
    _, held_out = split(read_manifest(ucm / "captions_ucm.jsonl", ucm))
    accuracy = scene_accuracy(zero_shot, held_out)
    print(f"UC Merced, held-out fifth ({len(held_out)} images, 21 scenes): accuracy {accuracy:.1f} %")
    for dense in DENSE_SETS:
        for kind, names in (("prototype's names", dense.protocol_names), ("plain names", dense.plain_names)):
            miou, per_class, count = dense_iou(zero_shot, arguments.data / dense.folder, names)
            shown = ", ".join(
                f"{n} {'-' if v is None else f'{v:.1f}'}" for n, v in zip(names.names, per_class, strict=True)
            )
            print(f"{dense.title} ({count} images), {kind}: mIoU {miou:.1f} ({shown})", flush=True)


def name_scenes(arguments: argparse.Namespace) -> None:
    """Print how often single-class crops of generated scenes are named rightly among the 14 classes."""
    crops = list(collect_crops(arguments.seed, arguments.count, arguments.size, arguments.style))
    tally = name_crops(_zero_shot(arguments.weights), crops)
    chance = 100 / len(SYNTHETIC_CLASSES)
    for name, (right, total) in tally.items():
        print(f"{name}: {100 * right / total:.0f} % of {total} crops")
    balanced = sum(100 * right / total for right, total in tally.values()) / len(tally)
    overall = 100 * sum(right for right, _ in tally.values()) / len(crops)
    print(
        f"{len(crops)} crops: {overall:.1f} % named rightly, mean over classes {balanced:.1f} % (chance {chance:.1f} %)"
    )


def _zero_shot(weights: Path) -> ZeroShot:
    model = create_model(EMBEDDED_MODEL)
    load_image_tower(model.visual, weights)
    return ZeroShot(model, create_tokenizer(EMBEDDED_MODEL))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    training = commands.add_parser("train", help="train an image tower", description=train.__doc__)
    training.add_argument("--manifest", type=Path, action="append", required=True, help="jsonl file; repeatable")
    training.add_argument("--images", type=Path, action="append", required=True, help="its image folder; repeatable")
    training.add_argument(
        "--scenes",
        type=Path,
        nargs="*",
        default=(),
        help="folders of generated scenes, whose regions are trained on too",
    )
    training.add_argument("--start", type=Path, help="tower to start from instead of the ImageNet weights")
    training.add_argument("--output", type=Path, required=True, help="folder for checkpoint, log and weights")
    training.add_argument("--steps", type=int, default=600)
    training.add_argument("--batch", type=int, default=64, help="images a step")
    training.add_argument("--size", type=int, default=192, help="side of the crops in pixels, a multiple of 64")
    training.add_argument("--smallest", type=float, default=Recipe.smallest, help="smallest side of a crop, as a share")
    training.add_argument(
        "--mosaic-share",
        type=float,
        default=Recipe.mosaic_share,
        help="share of steps that show mosaics of 2 x 2 images",
    )
    training.add_argument("--seed", type=int, default=0)
    training.add_argument("--checkpoint-every", type=int, default=100, metavar="STEPS")
    training.set_defaults(run=train)

    averaging = commands.add_parser("average", help="average towers", description=average.__doc__)
    averaging.add_argument("--weights", type=Path, nargs="+", required=True)
    averaging.add_argument("--output", type=Path, required=True, help="file to write")
    averaging.set_defaults(run=average)

    judging = commands.add_parser("evaluate", help="scene accuracy and dense mIoU", description=evaluate.__doc__)
    judging.add_argument("--data", type=Path, required=True, help="holds ucm/, dubai_mbrsc/ and dronedeploy_sample/")
    judging.add_argument("--weights", type=Path, default=WEIGHTS)
    judging.set_defaults(run=evaluate)

    naming = commands.add_parser("name-scenes", help="name crops of generated scenes", description=name_scenes.__doc__)
    naming.add_argument("--weights", type=Path, default=WEIGHTS)
    naming.add_argument("--count", type=int, default=200, help="number of scenes")
    naming.add_argument("--seed", type=int, default=50_000, help="seed of the first scene")
    naming.add_argument("--size", type=int, default=256, help="pixels a side of a scene")
    naming.add_argument("--style", default="b", help="style of the scenes")
    naming.set_defaults(run=name_scenes)
    return parser


def _start_log(output: Path | None) -> None:
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(output / "log.txt"))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=handlers, force=True)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; see the module's text."""
    argv = sys.argv[1:] if argv is None else list(argv)
    arguments = _parser().parse_args(argv)
    arguments.command_line = shlex.join(["python", "-m", "research.pretraining", *argv])
    _start_log(arguments.output if arguments.run is train else None)
    arguments.run(arguments)
    return 0


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main())
