"""Quick check of a registered dataset, before training or evaluation."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from detectron2.data import DatasetCatalog

from sgovss.data.class_table import absent_classes
from sgovss.data.labels import image_size, load_labels
from sgovss.data.registration import dataset_metadata
from sgovss.errors import InputError

logger = logging.getLogger(__name__)


def check_dataset(name: str, sample: int = 200) -> int:
    """Check the folders, the pairs, the sizes of all files, and the label values of a sample.

    Sizes are read from the file headers. Label values are read from ``sample`` files, spread evenly over the sorted
    list; the mapper and the evaluator check all other labels when they read them. A number of pairs that differs from
    the published one is only a warning, because using a part of a dataset is legitimate. So is a class
    without a pixel in the sample.

    Args:
        name: registered name.
        sample: number of labels to read.

    Returns:
        The number of image-label pairs.

    Raises:
        InputError: the first problem that is found; the message gives the file, and for a wrong label value the value
            and its number of pixels.
    """
    metadata = dataset_metadata(name)
    records = DatasetCatalog.get(name)
    for record in records:
        image = image_size(record["file_name"], upright="label")
        label = image_size(record["sem_seg_file_name"], upright="image")
        if image != label:
            raise InputError(
                f"{record['sem_seg_file_name']}: label is {label[1]}x{label[0]} pixels, its image "
                f"{record['file_name']} is {image[1]}x{image[0]}; make them equal"
            )
    _check_labels(name, records, sample)
    published = metadata.specification.splits[metadata.split].count
    if published is not None and published != len(records):
        logger.warning("%s: %d pairs here, %d in the published dataset", name, len(records), published)
    return len(records)


def _check_labels(name: str, records: Sequence[Mapping[str, str]], sample: int) -> None:
    """Read a sample of the labels; warn if a class has no pixel in them."""
    metadata = dataset_metadata(name)
    labels, names = metadata.label_map, metadata.vocabulary.names
    chosen = np.unique(np.linspace(0, len(records) - 1, min(sample, len(records))).round().astype(int))
    pixels = np.zeros(len(names) + 1, np.int64)
    for file in (records[index]["sem_seg_file_name"] for index in chosen):
        ids = load_labels(file, labels)
        ids[ids == labels.ignore_label] = len(names)
        pixels += np.bincount(ids.reshape(-1), minlength=len(names) + 1)
    read = (
        f"the {len(chosen)} labels read"
        if len(chosen) == len(records)
        else (f"the {len(chosen)} of {len(records)} labels read")
    )
    if absent := absent_classes(names, pixels, read):
        logger.warning("%s: %s", name, absent)
