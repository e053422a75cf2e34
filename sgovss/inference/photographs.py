"""Segment one image file in one piece."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from sgovss.data.labels import read_rgb
from sgovss.errors import InputError
from sgovss.inference.predictor import ImagePredictor
from sgovss.inference.rejection import Rejection
from sgovss.inference.segmentation import Segmentation
from sgovss.vocabulary import Vocabulary

_LONGEST = 1400  # pixels along a side of a picture


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
        the result; its ``files`` are those written, and its ``facts`` the size of the image and the time taken.

    Raises:
        InputError: the image cannot be read, or the outputs cannot be written.
    """
    started = time.monotonic()
    image = read_rgb(path)
    segmentation = predictor(image, vocabulary, rejection)
    segmentation.source = path
    try:
        segmentation.files = segmentation.save(target.parent, target.name)
    except OSError as error:
        raise InputError(f"{target}: cannot write ({error.strerror or error}); give another --output") from error
    segmentation.facts = {
        "size": f"{image.shape[1]} x {image.shape[0]} pixels",
        "time": f"{time.monotonic() - started:.1f} s",
    }
    return segmentation


def stored(result: Segmentation) -> Segmentation:
    """Return a result that reads labels and picture from its files when they are asked for; its scores are not kept."""
    if result.image is None:  # a raster, which does so already
        return result
    labels, source = result.files["labels"], Path(str(result.source))

    def read_labels() -> np.ndarray:
        with Image.open(labels) as image:
            return np.asarray(image).astype(np.int64)

    def read_preview() -> tuple[np.ndarray, np.ndarray]:
        pixels, ids = read_rgb(source), read_labels()
        factor = min(1.0, _LONGEST / max(ids.shape))
        size = [max(1, round(side * factor)) for side in ids.shape[::-1]]
        small = cv2.resize(ids.astype(np.int32), size, interpolation=cv2.INTER_NEAREST).astype(np.int64)
        return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), small

    return Segmentation(
        read_labels,
        result.legend,
        preview=read_preview,
        shares=result.shares,
        source=result.source,
        files=result.files,
        facts=result.facts,
    )
