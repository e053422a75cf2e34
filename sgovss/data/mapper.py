"""Detectron2 dataset mapper: reads a record, augments it, and converts its label to training ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T
from detectron2.projects.point_rend import ColorAugSSDTransform

from sgovss.data.label_map import LabelMap
from sgovss.data.labels import load_labels, read_rgb
from sgovss.data.registration import dataset_metadata, held_out_ids, training_vocabulary
from sgovss.errors import InputError
from sgovss.label_ids import IMAGE_PAD_VALUE
from sgovss.vocabulary import Vocabulary


class SegmentationMapper:
    """Detectron2 dataset mapper for semantic segmentation with a vocabulary.

    Takes a record of :func:`sgovss.data.listing.list_pairs`, or of :func:`sgovss.data.unlabelled.list_unlabelled`
    (then all pixels are ignored), and returns a new dict with

    - ``image``: (3, H, W) uint8 RGB tensor after augmentation;
    - ``sem_seg`` (training only): (H, W) tensor of training ids, and ``ignore_label``; uint8, or int64 if there are
      more than 255 classes. The model converts it on its device;
    - ``vocabulary``: the classes of ``sem_seg`` in training, of the dataset at inference;
    - ``labels_only`` (if asked for): true;
    - ``file_name``, ``dataset``, and ``height``, ``width``: size in pixels of the image file.

    Args:
        vocabularies: dataset name -> vocabulary.
        augmentations: the result of :func:`training_augmentations` or :func:`inference_augmentations`.
        label_maps: dataset name -> label map; None for inference, where no label is read.
        held_out: ids of the held-out classes, in the class order of the datasets. Their pixels are ignored, and the
            remaining classes are renumbered.
        labels_only: for inference, whether the model is to return labels instead of the scores of all classes.
    """

    @configurable
    def __init__(
        self,
        *,
        vocabularies: Mapping[str, Vocabulary],
        augmentations: Sequence[T.Augmentation | T.Transform],
        label_maps: Mapping[str, LabelMap] | None = None,
        held_out: Sequence[int] = (),
        labels_only: bool = False,
    ) -> None:
        self.augmentations = T.AugmentationList(list(augmentations))
        # Kept here, because Detectron2's catalogs are empty in spawned data loader workers.
        self.vocabularies = dict(vocabularies)
        self.labels_only = labels_only
        self.label_maps = None
        if label_maps is not None:
            self.label_maps = {name: labels.without(held_out) for name, labels in label_maps.items()}

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        """Take the constructor's arguments from a config.

        The keys are ``INPUT.*``, and for training ``DATASETS.TRAIN`` and ``UNSEEN``, for inference ``DATASETS.TEST``.

        Raises:
            InputError: the crop size is wrong; or see :func:`sgovss.data.registration.training_vocabulary`.
        """
        if not is_train:
            return {
                "vocabularies": {name: dataset_metadata(name).vocabulary for name in cfg.DATASETS.TEST},
                "augmentations": inference_augmentations(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST),
            }
        names = cfg.DATASETS.TRAIN
        vocabulary = training_vocabulary(names, cfg.DATASETS.UNSEEN)
        label_maps = {name: dataset_metadata(name).label_map for name in names}
        augmentations = training_augmentations(
            min_sizes=cfg.INPUT.MIN_SIZE_TRAIN,
            max_size=cfg.INPUT.MAX_SIZE_TRAIN,
            size_sampling=cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING,
            crop_size=_crop_size(cfg),
            max_category_area=cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA,
            any_orientation=cfg.INPUT.ANY_ORIENTATION,
            color_jitter=cfg.INPUT.COLOR_AUG_SSD,
            ignore_label=dataset_metadata(names[0]).ignore_label,
        )
        held_out = held_out_ids(names, cfg.DATASETS.UNSEEN)
        return {
            "vocabularies": dict.fromkeys(names, vocabulary),
            "augmentations": augmentations,
            "label_maps": label_maps,
            "held_out": held_out,
        }

    def __call__(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Read and augment one record.

        Raises:
            InputError: a file cannot be read, image and label differ in size, or a label value is outside the
                specification.
        """
        image = read_rgb(record["file_name"])
        result = {"file_name": record["file_name"], "dataset": record["dataset"]}
        result["vocabulary"] = self.vocabularies[record["dataset"]]
        result["height"], result["width"] = image.shape[:2]
        if self.labels_only:
            result["labels_only"] = True
        sem_seg = None
        if self.label_maps is not None:
            sem_seg = _labels_of(record, self.label_maps[record["dataset"]], image.shape[:2])
        augmented = T.AugInput(image, sem_seg=sem_seg)
        self.augmentations(augmented)
        # Copy, because torch needs writable memory without negative strides.
        result["image"] = torch.from_numpy(np.array(augmented.image.transpose(2, 0, 1), order="C"))
        if sem_seg is not None:
            ids = augmented.sem_seg
            result["sem_seg"] = torch.from_numpy(ids.astype(np.uint8 if ids.dtype == np.uint8 else np.int64))
        return result


def _labels_of(record: Mapping[str, Any], labels: LabelMap, size: tuple[int, int]) -> np.ndarray:
    if "sem_seg_file_name" not in record:
        return np.full(size, labels.ignore_label, labels.dtype)
    sem_seg = load_labels(record["sem_seg_file_name"], labels, labels.dtype)
    if sem_seg.shape != size:
        raise InputError(
            f"{record['sem_seg_file_name']}: label is {sem_seg.shape[1]}x{sem_seg.shape[0]} pixels, its image "
            f"{record['file_name']} is {size[1]}x{size[0]}; make them equal"
        )
    return sem_seg


def training_augmentations(
    *,
    min_sizes: Sequence[int],
    max_size: int,
    size_sampling: str = "choice",
    crop_size: tuple[int, int] | None,
    max_category_area: float = 1.0,
    any_orientation: bool = True,
    color_jitter: bool = True,
    ignore_label: int = 255,
) -> list[T.Augmentation | T.Transform]:
    """Augmentations for training: scale, crop, orientation, colour and padding, in this order.

    Args:
        min_sizes: lengths of the shorter edge in pixels: a list to choose from, or (smallest, largest) if
            ``size_sampling`` is "range"; 0 keeps the original scale.
        max_size: largest length of the longer edge in pixels, after resizing.
        size_sampling: "choice" or "range".
        crop_size: (height, width) of the crop in pixels; smaller images are padded to it. None keeps the whole image.
        max_category_area: a crop in which one class has a larger fraction of the pixels is drawn again, up to ten
            times.
        any_orientation: use all eight flips and quarter turns, for images taken from straight above; otherwise only
            the horizontal flip, for oblique views.
        color_jitter: change brightness, contrast, saturation and hue as in SSD.
        ignore_label: label of padded pixels; not counted for ``max_category_area``.

    Raises:
        InputError: ``size_sampling`` is unknown, or needs another number of ``min_sizes``.
    """
    if size_sampling not in ("choice", "range") or (size_sampling == "range" and len(min_sizes) != 2):
        raise InputError(
            f"INPUT.MIN_SIZE_TRAIN {tuple(min_sizes)} with MIN_SIZE_TRAIN_SAMPLING '{size_sampling}': "
            "give 'choice' and any number of sizes, or 'range' and (smallest, largest)"
        )
    steps: list[T.Augmentation | T.Transform] = [T.ResizeShortestEdge(list(min_sizes), max_size, size_sampling)]
    if crop_size is not None:
        steps.append(T.RandomCrop_CategoryAreaConstraint("absolute", crop_size, max_category_area, ignore_label))
    steps.append(T.RandomFlip(horizontal=True))
    if any_orientation:
        steps.append(T.RandomRotation([0, 90, 180, 270], sample_style="choice"))
    if color_jitter:
        steps.append(ColorAugSSDTransform(img_format="RGB"))
    if crop_size is not None:
        steps.append(T.FixedSizeCrop(crop_size, pad_value=IMAGE_PAD_VALUE, seg_pad_value=ignore_label))
    return steps


def inference_augmentations(min_size: int, max_size: int) -> list[T.Augmentation]:
    """Augmentations for inference: resize the image.

    Args:
        min_size: length of the shorter edge in pixels; 0 keeps the original scale.
        max_size: largest length of the longer edge in pixels, after resizing.
    """
    return [T.ResizeShortestEdge(min_size, max_size)] if min_size > 0 else []


def _crop_size(cfg: CfgNode) -> tuple[int, int] | None:
    crop = cfg.INPUT.CROP
    if not crop.ENABLED:
        return None
    if crop.TYPE != "absolute" or len(crop.SIZE) != 2 or not all(isinstance(n, int) and n > 0 for n in crop.SIZE):
        raise InputError(
            f"INPUT.CROP: TYPE '{crop.TYPE}' and SIZE {crop.SIZE} cannot be padded to one size; "
            "give TYPE 'absolute' and SIZE [height, width] in pixels"
        )
    return crop.SIZE[0], crop.SIZE[1]
