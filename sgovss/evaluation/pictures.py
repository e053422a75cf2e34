"""Figures: confusion matrix, curves over training steps, predictions of several models, samples of a dataset."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from sgovss.files import atomic_path
from sgovss.painting import paint
from sgovss.vocabulary import Vocabulary

_ANNOTATED_UP_TO = 20
_UNSEEN = "#b8420f"
_UNSEEN_NOTE = "* unseen in training"
_PANELS_A_ROW = 4
_SAMPLES_A_ROW = 2
_PAINTED = 0.55


def draw_confusion(
    matrix: np.ndarray, names: Sequence[str], seen: Sequence[bool], title: str, path: str | Path
) -> None:
    """Write a confusion matrix as a PNG; each row is a true class, in percent of its pixels.

    Unseen classes are orange and have a star. Rows of classes without ground truth are grey. The column "no class"
    is drawn only if the model rejected pixels.

    Args:
        matrix: (T + 1, T + 1) int64 in the convention of :mod:`sgovss.evaluation.metrics`.
        names: T class names.
        seen: T flags, whether training saw the class.
        title: title of the figure.
        path: the PNG file.
    """
    percent = _row_percentages(matrix)
    count = len(names)
    cell = 0.62 if count <= _ANNOTATED_UP_TO else 0.24
    side = max(cell * count, 2.8)
    margin = 0.075 * max(map(len, names)) + 1.6
    figure = Figure(figsize=(side + margin + 0.9, side + margin), dpi=110, layout="constrained")
    axes = figure.add_subplot(facecolor="0.88")  # visible where a row is undefined
    image = axes.imshow(percent, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    figure.colorbar(image, ax=axes, label="% of the true class", fraction=0.04, pad=0.02)
    size = 9 if count <= _ANNOTATED_UP_TO else 7
    _name_classes(axes, names, seen, size, rejected=percent.shape[1] > count)
    axes.set_xlabel("predicted")
    axes.set_ylabel("ground truth")
    figure.suptitle(title, fontsize=11)
    if not all(seen):
        figure.supxlabel(_UNSEEN_NOTE, fontsize=size, color=_UNSEEN, x=0.98, ha="right")
    if count <= _ANNOTATED_UP_TO:
        _annotate(axes, percent)
    _save(figure, path)


def draw_curves(
    series: Mapping[str, Mapping[int, Sequence[float]]],
    title: str,
    path: str | Path,
    ylabel: str = "mIoU (%)",
    known_labels: Sequence[str] = (),
) -> None:
    """Write curves over training steps as a PNG: the mean of the runs, with a band of one standard deviation.

    Args:
        series: for each label and step the values of all runs; steps without values are left out.
        title: title of the figure.
        path: the PNG file.
        ylabel: label of the vertical axis.
        known_labels: labels with a fixed colour and line style, the same in all figures drawn with this argument.
    """
    order = [*known_labels, *(label for label in series if label not in known_labels)]
    figure = Figure(figsize=(6.4, 4.6), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    for label, runs in series.items():
        place = order.index(label)
        color, line = f"C{place % 10}", "--" if place >= 10 else "-"
        steps = sorted(step for step, values in runs.items() if values)
        means = np.array([np.mean(runs[step]) for step in steps])
        spread = np.array([np.std(runs[step], ddof=1) if len(runs[step]) > 1 else 0.0 for step in steps])
        axes.plot(steps, means, line, color=color, marker="o", markersize=4, label="\n".join(textwrap.wrap(label, 44)))
        axes.fill_between(steps, means - spread, means + spread, color=color, alpha=0.12, linewidth=0)
    axes.set_title("\n".join(textwrap.wrap(title, 68)), fontsize=11)
    axes.set_xlabel("training step")
    axes.set_ylabel(ylabel)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if series:
        figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    _save(figure, path)


def draw_comparison(
    image: np.ndarray,
    labels: Mapping[str, np.ndarray],
    vocabulary: Vocabulary,
    seen: Sequence[bool],
    path: str | Path,
) -> None:
    """Write an image and several label maps of it side by side as a PNG, with one legend.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) integer label map by title of its panel; pixels that are no id of the vocabulary are white.
        vocabulary: the T classes.
        seen: T flags, whether training saw the class; unseen classes have a star.
        path: the PNG file.
    """
    rows = math.ceil((1 + len(labels)) / _PANELS_A_ROW)
    figure = Figure(figsize=(2.3 * _PANELS_A_ROW, 2.6 * rows + 0.7), dpi=110, layout="constrained")
    axes = figure.subplots(rows, _PANELS_A_ROW, squeeze=False).ravel()
    colors = np.vstack([vocabulary.colors(), [[255, 255, 255]]]).astype(np.uint8)
    pictures = {title: colors[np.where(ids < len(vocabulary), ids, -1)] for title, ids in labels.items()}
    for place, (title, picture) in zip(axes, {"image": image, **pictures}.items(), strict=False):
        place.imshow(picture, interpolation="nearest")
        place.set_title(textwrap.fill(title, 32), fontsize=8)
    for place in axes:
        place.set_axis_off()
    _add_legend(figure, labels.values(), vocabulary, seen)
    _save(figure, path)


def draw_samples(
    samples: Mapping[str, tuple[np.ndarray, np.ndarray]], vocabulary: Vocabulary, title: str, path: str | Path
) -> None:
    """Write images, each beside a copy with its labels painted over it, as a PNG with one legend.

    Args:
        samples: by caption, an (H, W, 3) uint8 RGB image and its (H, W) integer label map; pixels that are no id of
            the vocabulary are not painted.
        vocabulary: the T classes.
        title: title of the figure.
        path: the PNG file.
    """
    rows = math.ceil(len(samples) / _SAMPLES_A_ROW)
    figure = Figure(figsize=(2.6 * 2 * _SAMPLES_A_ROW, 2.8 * rows + 1), dpi=110, layout="constrained")
    axes = figure.subplots(rows, 2 * _SAMPLES_A_ROW, squeeze=False).ravel()
    colors = vocabulary.colors()
    for (caption, (image, ids)), left, right in zip(samples.items(), axes[::2], axes[1::2], strict=False):
        left.imshow(image)
        left.set_title(textwrap.fill(caption, 38), fontsize=7)
        right.imshow(paint(image, np.minimum(ids, len(colors)).astype(np.uint16), colors, _PAINTED))
    for place in axes:
        place.set_axis_off()
    figure.suptitle(title, fontsize=10)
    _add_legend(figure, [ids for _, ids in samples.values()], vocabulary, [True] * len(vocabulary))
    _save(figure, path)


def _add_legend(figure: Figure, labels: Iterable[np.ndarray], vocabulary: Vocabulary, seen: Sequence[bool]) -> None:
    """Add a legend of the classes that occur in any of the label maps; unseen classes have a star."""
    colors = vocabulary.colors()
    present = sorted({int(i) for ids in labels for i in np.unique(ids) if i < len(vocabulary)})
    patches = [
        Patch(facecolor=colors[i] / 255, edgecolor="0.4", label=vocabulary.names[i] + ("" if seen[i] else " *"))
        for i in present
    ]
    note = None if all(seen[i] for i in present) else _UNSEEN_NOTE
    figure.legend(
        handles=patches, loc="outside lower center", ncols=7, fontsize=8, frameon=False, title=note, title_fontsize=8
    )


def _name_classes(axes: Axes, names: Sequence[str], seen: Sequence[bool], size: int, rejected: bool) -> None:
    """Label the rows and columns of a confusion matrix; ``rejected`` adds the column "no class"."""
    labels = [name if known else f"{name} *" for name, known in zip(names, seen, strict=True)]
    axes.set_yticks(range(len(labels)), labels, fontsize=size)
    columns = [*labels, "no class"] if rejected else labels
    axes.set_xticks(range(len(columns)), columns, fontsize=size, rotation=45, ha="right", rotation_mode="anchor")
    for ticks in (axes.get_yticklabels(), axes.get_xticklabels()):
        for tick, known in zip(ticks, seen, strict=False):
            tick.set_color("black" if known else _UNSEEN)


def _row_percentages(matrix: np.ndarray) -> np.ndarray:
    """Return (T, T) or (T, T + 1) percentages of each true class; NaN in rows of classes without ground truth."""
    truth = matrix[:, :-1].T.astype(float)
    total = truth.sum(axis=1, keepdims=True)
    percent = np.divide(100 * truth, total, out=np.full_like(truth, np.nan), where=total > 0)
    return percent if truth[:, -1].any() else percent[:, :-1]


def _annotate(axes: Axes, percent: np.ndarray) -> None:
    for (row, column), value in np.ndenumerate(percent):
        if value >= 0.5:
            color = "white" if value > 55 else "black"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color=color)


def _save(figure: Figure, path: str | Path) -> None:
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png")
