"""Segment an image in words, from Python."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from detectron2.config import CfgNode

from sgovss.config import add_options, config_from_dump, load_config
from sgovss.errors import InputError
from sgovss.fingerprint import fingerprint
from sgovss.inference.rejection import Rejection
from sgovss.modeling.build import build_model
from sgovss.modeling.checkpoint import expect_own_weights, load_weights, read_checkpoint
from sgovss.precision import AUTO, cast_weights, fast_precision
from sgovss.vocabulary import Vocabulary

_NOTHING_REJECTED = Rejection()


@dataclass(frozen=True)
class Prediction:
    """What an image was segmented into.

    Attributes:
        labels: (H, W) int64, positions in the vocabulary.
        scores: (H, W) float32 in 0..1, of the best class, also where that was rejected.
        legend: the vocabulary; ``legend.names[i]`` and ``legend.colors()[i]`` belong to label i.
    """

    labels: np.ndarray
    scores: np.ndarray
    legend: Vocabulary


class Predictor:
    """A model ready to segment images.

    Args:
        config: a config, its file, or the name of one that comes with sgovss (``sgovss_tiny.yaml``); None
            takes the one that ``weights`` carries.
        weights: a checkpoint of ``sgovss train``; None takes MODEL.WEIGHTS of the config, and if that is
            empty too, CLIP as it is, without any fine-tuning.
        options: alternating config keys and values on top of the file.
        precision: ``float32``, ``bfloat16``, or ``auto`` for bfloat16 where the device computes in it; default
            TEST.PRECISION of the config.

    Raises:
        InputError: config or weights are wrong.

    Example::

        predict = sgovss.Predictor("sgovss_tiny.yaml")
        prediction = predict(image, "building, road, tree|forest, water")
    """

    def __init__(
        self,
        config: CfgNode | str | Path | None,
        weights: str | Path | None = None,
        options: tuple[str, ...] = (),
        precision: str | None = None,
    ) -> None:
        content = None if weights is None else read_checkpoint(weights)
        if content is not None and config is None:
            config = config_from_dump(content["config"], weights)
        cfg = _own_config(config, options)
        if precision is not None:
            cfg.TEST.PRECISION = fast_precision(torch.device(cfg.MODEL.DEVICE)) if precision == AUTO else precision
        # The frozen twin guides training; a predictor has no use for it.
        cfg.MODEL.SGOVSS.COMPENSATION.ENABLED = False
        weights = weights or cfg.MODEL.WEIGHTS
        if content is None and weights:
            content = read_checkpoint(weights)
        if content is not None:
            expect_own_weights(cfg, content)
            if not cfg.INPUT.GROUND_SAMPLE_DISTANCE:
                # What training found out stands in the checkpoint's config only.
                trained = config_from_dump(content["config"], weights)
                cfg.INPUT.GROUND_SAMPLE_DISTANCE = trained.INPUT.GROUND_SAMPLE_DISTANCE
        # What no weights are loaded for begins the same in every process, so that they can share and resume work.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.model = build_model(cfg).eval()
        if content is not None:
            load_weights(self.model, content, weights)
        for part in (self.model.image_encoder, self.model.head):
            cast_weights(part, cfg.TEST.PRECISION)
        self.cfg = cfg

    @functools.cached_property
    def fingerprint(self) -> str:
        """A digest of weights and config: two predictors with one fingerprint see an image alike."""
        weights = fingerprint(self.model.image_encoder, self.model.text_embedder, self.model.head)
        return hashlib.sha256(f"{self.cfg.MODEL.dump()}{self.cfg.TEST.PRECISION}{weights}".encode()).hexdigest()

    def __call__(
        self, image: np.ndarray, vocabulary: Vocabulary | str, rejection: Rejection = _NOTHING_REJECTED
    ) -> Prediction:
        """Segment one image.

        Args:
            image: (H, W, 3) uint8 RGB.
            vocabulary: the classes, or the words as :meth:`Vocabulary.parse` takes them.
            rejection: what makes a pixel "other", a class that the legend then has after the others.

        Raises:
            InputError: the image's shape or type, or the words, are wrong.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise InputError(f"image: expected (H, W, 3) uint8 RGB, not {image.shape} {image.dtype}")
        if isinstance(vocabulary, str):
            vocabulary = Vocabulary.parse(vocabulary)
        # np.array copies: torch wants memory that is writable.
        tensor = torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C")).to(self.model.device)
        scored = rejection.scored(vocabulary)
        with torch.no_grad():
            output = self.model.view(lambda images: self.model.scores(images, scored), tensor)
        labels, scores = rejection(output, len(vocabulary))
        return Prediction(labels.cpu().numpy(), scores.cpu().numpy(), rejection.legend(vocabulary))


def _own_config(config: CfgNode | str | Path | None, options: tuple[str, ...]) -> CfgNode:
    """A config of one's own, to be changed."""
    if config is None:
        raise InputError("Predictor: give a config, such as 'sgovss_tiny.yaml', or weights that carry one")
    if not isinstance(config, CfgNode):
        return load_config(config, options)
    cfg = config.clone()
    cfg.defrost()
    add_options(cfg, options)
    return cfg
