"""The counts of each image of an evaluation, on disk: what the comparison of two runs needs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from sgovss.errors import InputError
from sgovss.files import write_json_atomically

FILE = "images.json"


@dataclass(frozen=True)
class ImageCounts:
    """The counts of the N images of a test set of T classes.

    Attributes:
        dataset: registered name of the test set.
        classes: T class names.
        seen: T flags, whether training saw the class.
        images: (3, T) int64 :func:`sgovss.evaluation.metrics.class_counts` of each image, by its path below the folder
            that all images have in common.
    """

    dataset: str
    classes: Sequence[str]
    seen: Sequence[bool]
    images: Mapping[str, np.ndarray]

    def array(self) -> np.ndarray:
        """(N, 3, T) int64, sorted by the names of the images."""
        counts = [self.images[name] for name in sorted(self.images)]
        return np.reshape(counts, (len(counts), 3, len(self.classes)))

    def write(self, folder: Path) -> None:
        """Write ``<folder>/images.json``.

        Raises:
            InputError: the folder cannot be written to.
        """
        content = {
            "dataset": self.dataset,
            "classes": list(self.classes),
            "seen": list(self.seen),
            "counts": ["correct pixels", "true pixels", "predicted pixels"],
            "images": {name: self.images[name].tolist() for name in sorted(self.images)},
        }
        write_json_atomically(folder / FILE, content, indent=None)


def read_counts(path: Path) -> ImageCounts:
    """Read a file that :meth:`ImageCounts.write` wrote.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        classes = content["classes"]
        images = {
            name: np.reshape(np.asarray(counts, dtype=np.int64), (3, len(classes)))
            for name, counts in content["images"].items()
        }
        return ImageCounts(content["dataset"], classes, content["seen"], images)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not the counts of an evaluation ({error}); evaluate again to write them") from error


Value = TypeVar("Value")


def below_common_folder(counts: Mapping[str, Value]) -> dict[str, Value]:
    """Shorten the paths of images to those below their common folder, so that runs on two machines can be compared."""
    if not counts:
        return {}
    paths = {name: Path(name).absolute() for name in counts}
    common = os.path.commonpath([path.parent for path in paths.values()])
    return {paths[name].relative_to(common).as_posix(): each for name, each in counts.items()}
