"""How good a tower is before any fine-tuning: scene names, and dense zero-shot segmentation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from research.pretraining.image_tower import dense_map, normalise
from research.pretraining.manifests import IGNORE, UCM_SCENES, Record, decode, load
from research.pretraining.texts import EVALUATION_TEMPLATES, embed_classes
from sgovss.errors import InputError
from sgovss.modeling.clip_models import Tokenizer
from sgovss.vocabulary import Vocabulary


@dataclass(frozen=True)
class DenseSet:
    """Images with label ids (folders ``images`` and ``labels_id``), and two ways to name the classes."""

    title: str
    folder: str
    protocol_names: Vocabulary
    plain_names: Vocabulary


DENSE_SETS = (
    DenseSet(
        "Dubai tiles 1-6",
        "dubai_mbrsc",
        Vocabulary.from_string(
            "buildings, bare soil|sand|desert, road|runway|freeway, trees|grass|vegetation, water|sea|river"
        ),
        Vocabulary.from_string("building, land, road, vegetation, water"),
    ),
    DenseSet(
        "DroneDeploy chips",
        "dronedeploy_sample",
        Vocabulary.from_string("buildings, clutter, trees|bushes|forest, water|swimming pool, bare ground|grass, cars"),
        Vocabulary.from_string("building, clutter, vegetation, water, ground, car"),
    ),
)


class ZeroShot:
    """A trained open_clip model asked for classes by name.

    Args:
        model: open_clip model with ``visual`` and the frozen text tower.
        tokenizer: its tokenizer.
    """

    def __init__(self, model: nn.Module, tokenizer: Tokenizer) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer

    def classes(self, vocabulary: Iterable[Sequence[str]]) -> Tensor:
        """(T, D): the mean over each class's names and the three templates of the evaluation."""
        return embed_classes(self.model, self.tokenizer, vocabulary, EVALUATION_TEMPLATES)

    @torch.no_grad()
    def name_images(self, images: Tensor, classes: Tensor) -> Tensor:
        """(N, 3, H, W) uint8 -> (N,) class index, by the pooled embedding."""
        features = [self.model.visual(normalise(part.float())) for part in images.split(64)]
        return (F.normalize(torch.cat(features), dim=-1) @ classes.T).argmax(dim=1)

    @torch.no_grad()
    def segment(self, image: np.ndarray, classes: Tensor, size: tuple[int, int]) -> np.ndarray:
        """(H, W, 3) uint8, seen whole -> (h, w) class ids of the given size."""
        pixels = normalise(torch.from_numpy(image).permute(2, 0, 1)[None].float())
        dense = F.normalize(dense_map(self.model.visual, pixels), dim=1)
        cosine = torch.einsum("bdhw,td->bthw", dense, classes)
        return F.interpolate(cosine, size=size, mode="bilinear", align_corners=False)[0].argmax(dim=0).numpy()


def scene_accuracy(zero_shot: ZeroShot, records: Sequence[Record]) -> float:
    """Share of images whose scene is named rightly among UC Merced's 21 (in per cent)."""
    names = list(UCM_SCENES.values())
    predicted = zero_shot.name_images(load(records), zero_shot.classes([name] for name in names))
    truth = torch.tensor([names.index(record.scene) for record in records])
    return 100 * float((predicted == truth).float().mean())


def dense_iou(zero_shot: ZeroShot, folder: Path, vocabulary: Vocabulary) -> tuple[float, list[float | None], int]:
    """Zero-shot segmentation of every image of a folder, one pass over the whole image.

    Returns:
        mIoU over the classes in the ground truth, IoU per class (None where absent; both in per cent), images.

    Raises:
        InputError: no images, or a label file is missing or of another size.
    """
    paths = sorted((folder / "images").glob("*.jpg"))
    if not paths:
        raise InputError(f"{folder}: no images/*.jpg there; give the folder that holds {folder.name} as --data")
    classes = zero_shot.classes(entry.names for entry in vocabulary)
    count = len(vocabulary)
    confusion = np.zeros((count, count), np.int64)
    for path in paths:
        image = decode(path)
        truth = decode(folder / "labels_id" / f"{path.stem}.png", cv2.IMREAD_UNCHANGED)
        if truth.shape != image.shape[:2]:
            raise InputError(f"{path}: image {image.shape[:2]} and labels {truth.shape} differ in size")
        predicted = zero_shot.segment(image, classes, truth.shape)
        known = truth != IGNORE
        pairs = truth[known].astype(np.int64) * count + predicted[known]
        confusion += np.bincount(pairs, minlength=count * count).reshape(count, count)
    right, given = confusion.diagonal(), confusion.sum(axis=1)
    union = given + confusion.sum(axis=0) - right
    iou = [100 * float(r / u) if g else None for r, u, g in zip(right, union, given, strict=True)]
    return float(np.mean([value for value in iou if value is not None])), iou, len(paths)
