"""Segment an image from Python."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from detectron2.config import CfgNode

from sgovss.config import add_options, config_from_dump, load_config
from sgovss.config_changes import Use, report_changes
from sgovss.config_rules import check_value
from sgovss.errors import InputError
from sgovss.fingerprint import fingerprint
from sgovss.inference.rejection import NOTHING_REJECTED, Rejection
from sgovss.inference.segmentation import Segmentation
from sgovss.modeling.build import build_model
from sgovss.modeling.checkpoint import expect_own_weights, load_weights, read_checkpoint
from sgovss.modeling.class_scores import ClassScores
from sgovss.modeling.clip_settings import resolve_clip
from sgovss.modeling.meta_arch import SGOVSS
from sgovss.modeling.text_embedder import TextEmbeddings
from sgovss.precision import AUTO, cast_weights, fast_precision
from sgovss.vocabulary import Vocabulary


class SegmentationModel(Protocol):
    """The part of a model that predictors use; :class:`SGOVSS` has it."""

    @property
    def device(self) -> torch.device:
        """The device that takes images."""

    @property
    def text_embedder(self) -> Callable[[Vocabulary], TextEmbeddings]:
        """Embeds a vocabulary."""

    @property
    def size_divisibility(self) -> int:
        """See :meth:`SGOVSS.size_divisibility`."""

    @property
    def map_cells(self) -> int:
        """See :meth:`SGOVSS.map_cells`."""

    def scores(self, images: torch.Tensor, vocabulary: Vocabulary) -> torch.Tensor:
        """See :meth:`SGOVSS.scores`."""

    def score_maps(self, images: torch.Tensor, vocabulary: Vocabulary) -> torch.Tensor:
        """See :meth:`SGOVSS.score_maps`."""

    def score_image(self, image: torch.Tensor, vocabulary: Vocabulary) -> ClassScores:
        """See :meth:`SGOVSS.score_image`."""


class ImagePredictor(Protocol):
    """A predictor: :class:`Predictor`, or the one of an exported model."""

    @property
    def model(self) -> SegmentationModel:
        """The model."""

    @property
    def cfg(self) -> CfgNode:
        """The config of the model."""

    @property
    def fingerprint(self) -> str:
        """A digest of weights and config: predictors of equal fingerprint give equal scores."""

    def __call__(
        self, image: np.ndarray, vocabulary: Vocabulary | str, rejection: Rejection = NOTHING_REJECTED
    ) -> Segmentation:
        """See :func:`segment_image`."""


class Predictor:
    """A model ready to segment images.

    Args:
        config: a config, its file, or the name of one that comes with sgovss (``sgovss_tiny.yaml``); None takes the
            config in the checkpoint ``weights``.
        weights: a checkpoint of ``sgovss train``; None takes MODEL.WEIGHTS of the config. If that is empty too, the
            model is CLIP without fine-tuning.
        options: alternating config keys and values that override the config.
        precision: ``float32``, ``bfloat16``, or ``auto`` for bfloat16 if the device supports it; by default
            TEST.PRECISION of the config.

    Raises:
        InputError: config or weights are wrong.

    Example::

        predict = sgovss.Predictor("sgovss_tiny.yaml")
        segmentation = predict(image, "building, road, tree|forest, water")
    """

    def __init__(
        self,
        config: CfgNode | str | Path | None,
        weights: str | Path | None = None,
        options: tuple[str, ...] = (),
        precision: str | None = None,
    ) -> None:
        content = None
        if weights is not None:
            content = read_checkpoint(weights)
            config = config_from_dump(content["config"], weights) if config is None else config
        cfg = _own_config(config, options)
        if precision is not None:
            cfg.TEST.PRECISION = fast_precision(torch.device(cfg.MODEL.DEVICE)) if precision == AUTO else precision
            check_value("TEST.PRECISION", cfg.TEST.PRECISION)
        # The frozen encoder is used in training only.
        cfg.MODEL.SGOVSS.COMPENSATION.ENABLED = False
        weights = weights or cfg.MODEL.WEIGHTS
        if content is None and weights:
            content = read_checkpoint(weights)
        if content is not None:
            assert weights is not None
            cfg.MODEL.WEIGHTS = str(weights)
            expect_own_weights(cfg, content)
            if not cfg.INPUT.GROUND_SAMPLE_DISTANCE:
                # Training derives it from the datasets; only the config in the checkpoint holds it.
                trained = config_from_dump(content["config"], weights)
                cfg.INPUT.GROUND_SAMPLE_DISTANCE = trained.INPUT.GROUND_SAMPLE_DISTANCE
        resolve_clip(cfg)
        self.model = _build(cfg)
        if content is not None:
            load_weights(self.model, content, weights)
            report_changes(cfg, content["config"], weights, Use.INFERENCE)
        for part in (self.model.image_encoder, self.model.head):
            cast_weights(part, cfg.TEST.PRECISION)
        self.cfg = cfg

    @functools.cached_property
    def fingerprint(self) -> str:
        """A digest of weights and config: predictors of equal fingerprint give equal scores."""
        weights = fingerprint(self.model.image_encoder, self.model.text_embedder, self.model.head)
        return hashlib.sha256(f"{self.cfg.MODEL.dump()}{self.cfg.TEST.PRECISION}{weights}".encode()).hexdigest()

    def __call__(
        self, image: np.ndarray, vocabulary: Vocabulary | str, rejection: Rejection = NOTHING_REJECTED
    ) -> Segmentation:
        """Segment one image; see :func:`segment_image`."""
        return segment_image(self.model, image, vocabulary, rejection)


def segment_image(
    model: SegmentationModel, image: np.ndarray, vocabulary: Vocabulary | str, rejection: Rejection
) -> Segmentation:
    """Segment one image.

    Args:
        model: in inference mode.
        image: (H, W, 3) uint8 RGB.
        vocabulary: the classes, or a text for :meth:`Vocabulary.parse`.
        rejection: rule for labelling pixels as "other", which is then the last class of the legend.

    Returns:
        labels and scores of the size of the image.

    Raises:
        InputError: the image has another shape or type or no pixel, or a class name is wrong.
    """
    if not isinstance(image, np.ndarray):
        raise InputError(
            f"image: expected an array (H, W, 3) uint8 RGB, not {type(image).__name__}; read the file first"
        )
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise InputError(f"image: expected (H, W, 3) uint8 RGB, not {image.shape} {image.dtype}")
    if isinstance(vocabulary, str):
        vocabulary = Vocabulary.parse(vocabulary)
    # np.array copies: torch needs writable memory.
    tensor = torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C")).to(model.device)
    labels, best = model.score_image(tensor, rejection.scored(vocabulary)).best()
    labels = rejection.reject(labels, best, len(vocabulary))
    return Segmentation(labels.cpu().numpy(), rejection.legend(vocabulary), best.cpu().numpy(), image=image)


def _build(cfg: CfgNode) -> SGOVSS:
    # Parts without loaded weights get the same initial values in every process, so that a run can be resumed or divided
    # among processes.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(cfg).eval()
    assert isinstance(model, SGOVSS)
    return model


def _own_config(config: CfgNode | str | Path | None, options: tuple[str, ...]) -> CfgNode:
    """Return a copy of the config, with the options applied, that may be changed."""
    if config is None:
        raise InputError("Predictor: give a config, such as 'sgovss_tiny.yaml', or weights, whose file holds one")
    if not isinstance(config, CfgNode):
        return load_config(config, options)
    cfg = config.clone()
    cfg.defrost()
    add_options(cfg, options)
    return cfg
