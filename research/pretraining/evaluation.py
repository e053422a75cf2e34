"""Zero-shot evaluation of an image encoder: scene classification and segmentation, without fine-tuning."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from research.pretraining.banepa import best_threshold, building_iou, read_halves
from research.pretraining.image_encoder import dense_map, normalise
from research.pretraining.manifests import IGNORE, Record, decode, load
from research.pretraining.retrieval import recall_at
from research.pretraining.texts import EVALUATION_TEMPLATES, embed_classes, embed_texts
from sgovss.errors import InputError
from sgovss.evaluation.metrics import class_scores, confusion_matrix, plain, summarize
from sgovss.modeling.open_clip_models import ClipModel, Tokenizer
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

BUILDINGS = Vocabulary.from_string(
    "building|house|roof, road|street, trees|grass|vegetation, bare soil|sand|bare ground, water|river, farmland"
)
"""Buildings, and what else a town shows."""


class ZeroShot:
    """Zero-shot classification with an open_clip model.

    Args:
        model: open_clip model with ``visual`` and a frozen text encoder.
        tokenizer: its tokenizer.
    """

    def __init__(self, model: ClipModel, tokenizer: Tokenizer) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer

    def classes(self, vocabulary: Iterable[Sequence[str]]) -> Tensor:
        """Embed T classes: (T, D), the mean over the names of a class and the three evaluation templates."""
        return embed_classes(self.model, self.tokenizer, vocabulary, EVALUATION_TEMPLATES)

    @torch.no_grad()
    def name_images(self, images: Tensor, classes: Tensor) -> Tensor:
        """Classify images (N, 3, H, W) uint8 by their pooled embeddings; returns (N,) class indices."""
        return (self.embed(images) @ classes.T).argmax(dim=1)

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """Embed images (N, 3, H, W) uint8: (N, D), L2-normalised."""
        features = [self.model.visual(normalise(part.float())) for part in images.split(64)]
        return F.normalize(torch.cat(features), dim=-1)

    def segment(self, image: np.ndarray, classes: Tensor, size: tuple[int, int]) -> np.ndarray:
        """Segment an image (H, W, 3) uint8 in one pass; returns (h, w) class ids, where ``size`` is (h, w)."""
        return self.scores(image, classes, size).argmax(dim=0).numpy()

    @torch.no_grad()
    def scores(self, image: np.ndarray, classes: Tensor, size: tuple[int, int]) -> Tensor:
        """The cosine of each class at each point of an image (H, W, 3) uint8: (T, h, w), where ``size`` is (h, w)."""
        pixels = normalise(torch.from_numpy(image).permute(2, 0, 1)[None].float())
        dense = F.normalize(dense_map(self.model.visual, pixels), dim=1)
        cosine = torch.einsum("bdhw,td->bthw", dense, classes)
        return F.interpolate(cosine, size=size, mode="bilinear", align_corners=False)[0]


def scene_accuracy(zero_shot: ZeroShot, records: Sequence[Record], names: Sequence[str]) -> float:
    """Return the percentage of images that are classified correctly among the scenes ``names``."""
    predicted = zero_shot.name_images(load(records), zero_shot.classes([name] for name in names))
    truth = torch.tensor([names.index(record.scene) for record in records])
    return 100 * float((predicted == truth).float().mean())


def retrieval(zero_shot: ZeroShot, records: Sequence[Record], count: int = 5) -> tuple[float, float]:
    """Recall among the best ``count``, in per cent: of the image of a caption, and of a caption of an image."""
    captions = [caption for record in records for caption in record.captions]
    owners = torch.arange(len(records)).repeat_interleave(torch.tensor([len(record.captions) for record in records]))
    texts = embed_texts(zero_shot.model, zero_shot.tokenizer, captions)
    return recall_at(zero_shot.embed(load(records)), texts, owners, count)


def banepa_iou(zero_shot: ZeroShot, data: Path) -> tuple[float, float]:
    """Find the buildings of the lower half of Banepa by a threshold on the score that is best on its upper half.

    The score is the cosine of the buildings minus the largest cosine of the other classes of :data:`BUILDINGS`.

    Returns:
        IoU of the buildings, and IoU if all is called a building, both in per cent.

    Raises:
        InputError: the orthophoto is missing.
    """
    classes = zero_shot.classes(entry.names for entry in BUILDINGS)
    (upper, upper_mask), (lower, lower_mask) = read_halves(data)

    def margin(image: np.ndarray) -> np.ndarray:
        buildings, *others = zero_shot.scores(image, classes, image.shape[:2])
        return (buildings - torch.stack(others).amax(dim=0)).numpy()

    threshold = best_threshold(margin(upper), upper_mask)
    found = margin(lower) >= threshold
    return building_iou(found, lower_mask), building_iou(np.ones_like(found), lower_mask)


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
