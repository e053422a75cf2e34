"""Quick check of a registered dataset, before training or evaluation."""

from __future__ import annotations

import logging

import numpy as np
from detectron2.data import DatasetCatalog

from sgovss.data.labels import image_size, load_labels
from sgovss.data.registration import dataset_metadata
from sgovss.errors import InputError

logger = logging.getLogger(__name__)


def check_dataset(name: str, sample: int = 200) -> int:
    """Check the folders, the pairs, the sizes of all files, and the label values of a sample.

    Sizes are read from the file headers. Label values are read from ``sample`` files, spread evenly over the sorted
    list; the mapper and the evaluator check all other labels when they read them. A number of pairs that differs from
    the published one is only a warning, because using a part of a dataset is legitimate.

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
        image, label = image_size(record["file_name"]), image_size(record["sem_seg_file_name"])
        if image != label:
            raise InputError(
                f"{record['sem_seg_file_name']}: label is {label[1]}x{label[0]} pixels, its image "
                f"{record['file_name']} is {image[1]}x{image[0]}; make them equal"
            )
    for index in np.unique(np.linspace(0, len(records) - 1, min(sample, len(records))).round().astype(int)):
        load_labels(records[index]["sem_seg_file_name"], metadata.label_map)
    published = metadata.specification.splits[metadata.split].count
    if published is not None and published != len(records):
        logger.warning("%s: %d pairs here, %d in the published dataset", name, len(records), published)
    return len(records)
