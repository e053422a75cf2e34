"""Images without labels, which are used for the losses against the frozen encoder only."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.data import DatasetCatalog

from sgovss import paths
from sgovss.data.listing import ROOT_VARIABLE, list_images
from sgovss.errors import InputError


def list_unlabelled(sources: Sequence[str], dataset: str) -> list[dict[str, str]]:
    """List images without labels as Detectron2 records, to train together with a dataset.

    Args:
        sources: names of registered datasets, whose labels are not used, and folders of images, as absolute paths,
            relative to the current folder, or relative to ``$DETECTRON2_DATASETS``.
        dataset: name of the registered training set whose vocabulary the images get.

    Returns:
        One record with ``file_name`` and ``dataset`` for each image.

    Raises:
        InputError: a source is neither a dataset nor a folder, or a folder has no images.
    """
    files: list[str] = []
    for source in sources:
        if source in DatasetCatalog:
            files += [record["file_name"] for record in DatasetCatalog.get(source)]
        else:
            files += map(str, list_images(_folder(source)))
    return [{"file_name": file, "dataset": dataset} for file in files]


def repeat_factors(labelled: torch.Tensor, unlabelled: int, share: float) -> torch.Tensor:
    """Compute repeat factors so that a given fraction of the sampled records has no labels.

    Args:
        labelled: (N,) float, factors of the labelled records, which come first.
        unlabelled: number of records without labels.
        share: fraction of samples without labels, between 0 and 1, both excluded.

    Returns:
        (N + unlabelled,) float32 tensor for Detectron2's ``RepeatFactorTrainingSampler``.

    Raises:
        InputError: ``share`` is outside its range.
    """
    if not 0 < share < 1:
        raise InputError(f"DATASETS.UNLABELLED_SHARE: {share} is not between 0 and 1; give a fraction such as 0.25")
    factor = share / (1 - share) * labelled.sum() / unlabelled
    return torch.cat([labelled, factor.expand(unlabelled)])


def _folder(source: str) -> Path:
    places = (Path(source).expanduser(), Path(os.environ.get(ROOT_VARIABLE, "datasets")).expanduser() / source)
    for place in places:
        if paths.is_folder(place):
            return place
    raise InputError(
        f"DATASETS.UNLABELLED: '{source}' is neither a registered dataset nor a folder of images "
        f"(looked for {' and '.join(map(str, places))}); correct it"
    )
