#!/usr/bin/env python
"""Run the main job with the embedded model: evaluate, fine-tune, evaluate again, segment a new image.

python tools/demo_main_job.py --output output/demo --vocabulary "house, road, tree|forest, parking lot"
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from tabulate import tabulate

from sgovss.errors import InputError, command
from sgovss.synthetic import generate_image

CHECKOUT = Path(__file__).resolve().parent.parent
CONFIG = CHECKOUT / "configs" / "sgovss_tiny.yaml"
VOCABULARY = "building|house, road, tree|forest, grass|lawn, parking lot|pavement, car, sports court, swimming pool"
# No image of the dataset has this seed; see the ranges in datasets/generated_scenes.yaml.
UNUSED_SEED = 70_001
TRAINED = "fine-tuned"
METRICS = ("seen_mIoU", "unseen_mIoU", "harmonic_mIoU")
LEAST_GAIN = 10.0
"""Points of mIoU that fine-tuning must gain on the seen classes."""
LARGEST_LOSS = 2.0
"""Points of mIoU that fine-tuning may lose on the unseen classes."""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("output/demo"))
    parser.add_argument("--vocabulary", default=VOCABULARY, help="classes to segment the new image into")
    args = parser.parse_args(argv)
    start = time.monotonic()
    args.output.mkdir(parents=True, exist_ok=True)
    before, after = args.output / "zero-shot", args.output / TRAINED
    train_net(before, "evaluate CLIP without fine-tuning", "--eval-only")
    train_net(after, "fine-tune, then evaluate again")
    pictures = segment(args.output, after / "model_inference.pth", args.vocabulary)
    scores = [read_scores(folder) for folder in (before, after)]
    summary = summarise(scores, before, after, pictures, time.monotonic() - start)
    (args.output / "summary.txt").write_text(summary, encoding="utf-8")
    print(f"== summary: {args.output / 'summary.txt'}")
    check(*scores)
    return 0


def check(before: dict, after: dict) -> None:
    """Compare the scores before and after fine-tuning.

    Raises:
        InputError: the seen classes gained too little, or the unseen classes lost too much.
    """
    seen, unseen = (after[metric] - before[metric] for metric in METRICS[:2])
    if seen < LEAST_GAIN:
        raise InputError(f"seen mIoU changed by {seen:+.1f} points; at least {LEAST_GAIN:+.0f} was expected")
    if unseen < -LARGEST_LOSS:
        raise InputError(f"unseen mIoU changed by {unseen:+.1f} points; at most {-LARGEST_LOSS:.0f} may be lost")


def read_scores(folder: Path) -> dict:
    """Read the evaluation of a run, which has one test set."""
    return json.loads(next((folder / "evaluation").glob("*.json")).read_text(encoding="utf-8"))


def train_net(folder: Path, what: str, *flags: str) -> None:
    """Run train_net.py with an output folder; ``what`` describes the step on the screen."""
    arguments = ["--config-file", str(CONFIG), *flags, "OUTPUT_DIR", str(folder)]
    run(what, folder.with_suffix(".log"), CHECKOUT / "train_net.py", *arguments)


def segment(output: Path, weights: Path, vocabulary: str) -> Path:
    """Draw an image that is not in the dataset, and segment it with demo.py; returns the path of the overlay."""
    image = output / "image.png"
    Image.fromarray(generate_image(UNUSED_SEED, size=512, style="b").image).save(image)
    arguments = ["--config-file", str(CONFIG), "--input", str(image), "--output", str(output / "segmented")]
    arguments += ["--vocabulary", vocabulary, "--opts", "MODEL.WEIGHTS", str(weights)]
    run("segment a new image", output / "segment.log", CHECKOUT / "demo" / "demo.py", *arguments)
    return output / "segmented" / "image_overlay.png"


def run(what: str, log: Path, script: Path, *arguments: str) -> None:
    """Run a script of the checkout. Its output goes to a log; progress and errors are also printed.

    Args:
        what: description of the step to print.
        log: file to write.
        script: the Python file.
        arguments: arguments of the script.

    Raises:
        InputError: the script failed; the message names the log.
    """
    print(f"== {what} (log: {log})", flush=True)
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, str(script), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for line in process.stdout:
            file.write(line)
            if " eta: " in line or line.startswith("error:"):
                print(line.rstrip()[:160], flush=True)
        status = process.wait()
    if status:
        raise InputError(f"{script.name} ended with status {status}; see {log}")


def summarise(scores: list[dict], before: Path, after: Path, picture: Path, seconds: float) -> str:
    """Return a table of both evaluations and the paths of the results, as text."""
    names = ("seen", "unseen", "harmonic mean")
    rows = [
        [label, *(score[metric] for metric in METRICS)]
        for label, score in zip(("zero-shot", TRAINED), scores, strict=True)
    ]
    table = tabulate(rows, headers=["mIoU (%)", *names], floatfmt=".1f")
    places = [
        f"seen classes: {', '.join(scores[0]['seen'])}",
        f"unseen classes: {', '.join(scores[0]['unseen'])}",
        f"segmented image: {picture}",
        f"confusion matrices: {before / 'evaluation'}, {after / 'evaluation'}",
        f"took {seconds / 60:.1f} min",
    ]
    return "\n".join([table, "", *places, ""])


if __name__ == "__main__":
    sys.exit(main())
