"""Zero-shot evaluation of an image encoder: scene classification and segmentation, without fine-tuning."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from research.pretraining.image_encoder import dense_map, normalise
from research.pretraining.manifests import IGNORE, UCM_SCENES, Record, decode, load
from research.pretraining.texts import EVALUATION_TEMPLATES, embed_classes
from sgovss.errors import InputError
from sgovss.evaluation.metrics import class_scores, confusion_matrix, plain, summarize
from sgovss.modeling.open_clip_models import Tokenizer
from sgovss.vocabulary import Vocabulary


@dataclass(frozen=True)
class DenseSet:
    """A dataset for zero-shot segmentation.

    Attributes:
        title: name to print.
        folder: holds ``images`` and ``labels_id``.
        several_names: the classes with several names each.
        plain_names: the same classes with one name each.
    """

    title: str
    folder: str
    several_names: Vocabulary
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
    """Zero-shot classification with an open_clip model.

    Args:
        model: open_clip model with ``visual`` and a frozen text encoder.
        tokenizer: its tokenizer.
    """

    def __init__(self, model: nn.Module, tokenizer: Tokenizer) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer

    def classes(self, vocabulary: Iterable[Sequence[str]]) -> Tensor:
        """Embed T classes: (T, D), the mean over the names of a class and the three evaluation templates."""
        return embed_classes(self.model, self.tokenizer, vocabulary, EVALUATION_TEMPLATES)

    @torch.no_grad()
    def name_images(self, images: Tensor, classes: Tensor) -> Tensor:
        """Classify images (N, 3, H, W) uint8 by their pooled embeddings; returns (N,) class indices."""
        features = [self.model.visual(normalise(part.float())) for part in images.split(64)]
        return (F.normalize(torch.cat(features), dim=-1) @ classes.T).argmax(dim=1)

    @torch.no_grad()
    def segment(self, image: np.ndarray, classes: Tensor, size: tuple[int, int]) -> np.ndarray:
        """Segment an image (H, W, 3) uint8 in one pass; returns (h, w) class ids, where ``size`` is (h, w)."""
        pixels = normalise(torch.from_numpy(image).permute(2, 0, 1)[None].float())
        dense = F.normalize(dense_map(self.model.visual, pixels), dim=1)
        cosine = torch.einsum("bdhw,td->bthw", dense, classes)
        return F.interpolate(cosine, size=size, mode="bilinear", align_corners=False)[0].argmax(dim=0).numpy()


def scene_accuracy(zero_shot: ZeroShot, records: Sequence[Record]) -> float:
    """Return the percentage of images that are classified correctly among the 21 scene classes of UC Merced."""
    names = list(UCM_SCENES.values())
    predicted = zero_shot.name_images(load(records), zero_shot.classes([name] for name in names))
    truth = torch.tensor([names.index(record.scene) for record in records])
    return 100 * float((predicted == truth).float().mean())


def dense_iou(zero_shot: ZeroShot, folder: Path, vocabulary: Vocabulary) -> tuple[float, list[float | None], int]:
    """Segment every image of a folder zero-shot and compare it with its labels.

    Returns:
        mIoU over the classes in the ground truth, IoU of each class (None if it is absent), both in per cent, and the
        number of images.

    Raises:
        InputError: there are no images, or a label file is missing or has another size.
    """
    paths = sorted((folder / "images").glob("*.jpg"))
    if not paths:
        raise InputError(f"{folder}: no images/*.jpg there; give the folder that contains {folder.name} as --data")
    classes = zero_shot.classes(entry.names for entry in vocabulary)
    count = len(vocabulary)
    matrix = np.zeros((count + 1, count + 1), np.int64)
    for path in paths:
        image = decode(path)
        truth = decode(folder / "labels_id" / f"{path.stem}.png", cv2.IMREAD_UNCHANGED)
        if truth.shape != image.shape[:2]:
            raise InputError(f"{path}: image {image.shape[:2]} and labels {truth.shape} differ in size")
        predicted = zero_shot.segment(image, classes, truth.shape)
        matrix += confusion_matrix(predicted, np.where(truth == IGNORE, count, truth), count)
    miou = summarize(matrix, seen=[True] * count)["mIoU"]
    if miou is None:
        raise InputError(f"{folder}: no pixel of its labels has a class")
    return miou, [plain(value) for value in class_scores(matrix).iou], len(paths)
