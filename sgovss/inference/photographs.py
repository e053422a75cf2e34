"""Segment one image file in one piece."""

from __future__ import annotations

import time
from pathlib import Path

from sgovss.data.labels import read_rgb
from sgovss.errors import InputError
from sgovss.inference.predictor import ImagePredictor
from sgovss.inference.rejection import Rejection
from sgovss.inference.segmentation import Segmentation
from sgovss.vocabulary import Vocabulary


def segment_photograph(
    predictor: ImagePredictor, path: Path, vocabulary: Vocabulary, target: Path, rejection: Rejection
) -> Segmentation:
    """Segment an image file and write the files of :meth:`Segmentation.save`.

    Args:
        predictor: the model.
        path: the image file.
        vocabulary: the classes.
        target: folder and beginning of the names of the outputs, such as ``output/photo``.
        rejection: rule for labelling pixels as "other".

    Returns:
        the result; its ``facts`` are the size of the image and the time taken.

    Raises:
        InputError: the image cannot be read, or the outputs cannot be written.
    """
    started = time.monotonic()
    image = read_rgb(path)
    segmentation = predictor(image, vocabulary, rejection)
    segmentation.source = path
    try:
        segmentation.save(target.parent, target.name)
    except OSError as error:
        raise InputError(f"{target}: cannot write ({error.strerror or error})") from error
    segmentation.facts = {
        "size": f"{image.shape[1]} x {image.shape[0]} pixels",
        "time": f"{time.monotonic() - started:.1f} s",
    }
    return segmentation
