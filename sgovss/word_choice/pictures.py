"""Pictures of a choice of words: the spread of random choices, confusions, and images before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from sgovss.data.labels import read_rgb
from sgovss.evaluation.metrics import class_counts
from sgovss.evaluation.pictures import draw_comparison, draw_confusion
from sgovss.files import atomic_path
from sgovss.vocabulary import Vocabulary
from sgovss.word_choice.grid import mean_iou
from sgovss.word_choice.scoring import ScoredImage

_EXAMPLES = 4
_COLORS = ("#b8420f", "#1f6f3a", "#2a5fa5")


def draw_spread(scores: Sequence[float], marks: Mapping[str, float], path: Path) -> None:
    """Write a histogram of the mIoU of random choices as a PNG, with marks such as the words in use."""
    figure = Figure(figsize=(7.2, 3.0), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.hist(scores, bins=min(25, max(1, len(scores))), color="0.75", edgecolor="white")
    for (name, value), color in zip(marks.items(), _COLORS, strict=False):
        axes.axvline(value, color=color, linewidth=2, label=f"{name}: {value:.1f}")
    axes.set_xlabel("mIoU (%)")
    axes.set_ylabel(f"of {len(scores)} random choices")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=len(marks), frameon=False, fontsize=9)
    with atomic_path(path) as partial:
        figure.savefig(partial)


def draw_confusions(matrices: Mapping[str, np.ndarray], names: Sequence[str], folder: Path) -> list[Path]:
    """Write a picture of each confusion matrix (T + 1, T + 1), such as ``confusion_before.png``; return the files."""
    paths = []
    for kind, matrix in matrices.items():
        paths.append(folder / f"confusion_{kind}.png")
        title = f"{kind}: mIoU {mean_iou(class_counts(matrix)):.1f}"
        draw_confusion(matrix, names, [True] * len(names), title, paths[-1])
    return paths


def draw_examples(
    images: Sequence[ScoredImage], before: Vocabulary, after: Sequence[Vocabulary], folder: Path
) -> dict[str, Path]:
    """Write pictures of the images that the choice changes most, for better or worse.

    Args:
        images: the images.
        before: the words in use.
        after: the words chosen without each image.
        folder: is created if needed.

    Returns:
        the file by the name of the image, the most changed first.
    """
    change = [
        abs(int(image.matrix(new).diagonal()[:-1].sum()) - int(image.matrix(before).diagonal()[:-1].sum()))
        for image, new in zip(images, after, strict=True)
    ]
    found: dict[str, Path] = {}
    for place in np.argsort(-np.asarray(change), kind="stable")[:_EXAMPLES]:
        image, path = images[place], folder / f"example_{len(found) + 1}.png"
        maps = {"label": image.truth, "before": image.labels(before), "after": image.labels(after[place])}
        draw_comparison(read_rgb(image.sample.path), maps, before, [True] * len(before), path)
        found[image.sample.name] = path
    return found
