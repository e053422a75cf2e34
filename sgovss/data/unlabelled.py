"""Images without labels: only the frozen twin says anything about them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.data import DatasetCatalog

from sgovss.data.listing import ROOT_VARIABLE, list_images
from sgovss.errors import InputError


def list_unlabelled(sources: Sequence[str], dataset: str) -> list[dict[str, str]]:
    """Detectron2 records of images, without labels, to be trained with those of a dataset.

    Args:
        sources: registered datasets, whose labels are left out, and folders of images, as they are given or below
            ``$DETECTRON2_DATASETS``.
        dataset: the registered training set whose vocabulary they are seen in.

    Raises:
        InputError: a source is neither, or a folder without images.
    """
    files: list[str] = []
    for source in sources:
        if source in DatasetCatalog:
            files += [record["file_name"] for record in DatasetCatalog.get(source)]
        else:
            files += map(str, list_images(_folder(source)))
    return [{"file_name": file, "dataset": dataset} for file in files]


def repeat_factors(labelled: int, unlabelled: int, share: float) -> torch.Tensor:
    """How often each record comes up in an epoch, so that a share of all that come up is without labels.

    Args:
        labelled, unlabelled: how many records there are, in this order.
        share: above 0 and below 1.

    Returns:
        (labelled + unlabelled,) float32 for Detectron2's ``RepeatFactorTrainingSampler``.

    Raises:
        InputError: the share is outside its range.
    """
    if not 0 < share < 1:
        raise InputError(f"DATASETS.UNLABELLED_SHARE: {share} is not between 0 and 1")
    factors = torch.ones(labelled + unlabelled)
    factors[labelled:] = share / (1 - share) * labelled / unlabelled
    return factors


def _folder(source: str) -> Path:
    places = (Path(source).expanduser(), Path(os.environ.get(ROOT_VARIABLE, "datasets")).expanduser() / source)
    for place in places:
        if place.is_dir():
            return place
    raise InputError(
        f"DATASETS.UNLABELLED: '{source}' is neither a registered dataset nor a folder of images "
        f"(looked for {' and '.join(map(str, places))})"
    )
