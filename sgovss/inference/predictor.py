"""Segment an image from Python."""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from detectron2.config import CfgNode

from sgovss import paths
from sgovss.config import EMBEDDED_CONFIG, add_options, config_from_dump, load_config
from sgovss.config_changes import Use, report_changes
from sgovss.config_rules import check_value
from sgovss.errors import InputError
from sgovss.files import atomic_path, write_json_atomically
from sgovss.fingerprint import fingerprint
from sgovss.hub import hub_id, local_path, parse_id, publish
from sgovss.inference.inputs import ImageInput, rgb_pixels
from sgovss.inference.model_card import card, collect_facts, read_scores, stac_item, stated_licence_and_scores
from sgovss.inference.rejection import NOTHING_REJECTED, Rejection
from sgovss.inference.segmentation import Segmentation
from sgovss.modeling.build import build_model
from sgovss.modeling.checkpoint import expect_own_weights, load_weights, portable_config, read_checkpoint
from sgovss.modeling.class_scores import ClassScores
from sgovss.modeling.clip_settings import resolve_clip
from sgovss.modeling.meta_arch import SGOVSS
from sgovss.modeling.model_folder import base_weights, stated_properties, write_model
from sgovss.modeling.text_embedder import TextEmbeddings
from sgovss.modeling.views import View, build_native_view, build_view
from sgovss.precision import AUTO, cast_weights, fast_precision
from sgovss.vocabulary import Vocabulary, Words


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

    def score_image(self, image: torch.Tensor, vocabulary: Vocabulary, view: View | None = None) -> ClassScores:
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

    def __call__(self, image: ImageInput, vocabulary: Words, rejection: Rejection = NOTHING_REJECTED) -> Segmentation:
        """See :func:`segment_image`."""


class Predictor:
    """A model ready to segment images.

    Args:
        config: a config, its file, or the name of one that comes with sgovss (``sgovss_tiny.yaml``); None takes the
            config in the checkpoint ``weights``, or that of the embedded model without one.
        weights: a checkpoint of ``sgovss train``; None takes MODEL.WEIGHTS of the config. If that is empty too, the
            model is CLIP without fine-tuning.
        options: alternating config keys and values that override the config.
        precision: ``float32``, ``bfloat16``, or ``auto`` for bfloat16 if the device supports it; by default
            TEST.PRECISION of the config.
        benchmark_view: see images as an evaluation does, with TEST.SLIDING_WINDOW and TEST.AUG of the config, which may
            shrink them. By default images are seen at their own size, in the windows of TEST.SCENE, as rasters are.

    Attributes:
        model: the model.
        cfg: its config.
        view: how images are seen.

    Raises:
        InputError: config or weights are wrong.

    Example::

        predict = sgovss.Predictor()
        segmentation = predict("photo.jpg", "building, road, tree|forest, water")
    """

    def __init__(
        self,
        config: CfgNode | str | Path | None = None,
        weights: str | Path | None = None,
        options: tuple[str, ...] = (),
        precision: str | None = None,
        benchmark_view: bool = False,
    ) -> None:
        content, self._trained_on = None, None
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
            trained = config_from_dump(content["config"], weights)
            self._trained_on = trained.DATASETS
            if not cfg.INPUT.GROUND_SAMPLE_DISTANCE:
                # Training derives it from the datasets; only the config in the checkpoint holds it.
                cfg.INPUT.GROUND_SAMPLE_DISTANCE = trained.INPUT.GROUND_SAMPLE_DISTANCE
        resolve_clip(cfg)
        self.model = _build(cfg)
        if content is not None:
            load_weights(self.model, content, weights)
            report_changes(cfg, content["config"], weights, Use.INFERENCE)
        for part in (self.model.image_encoder, self.model.head):
            cast_weights(part, cfg.TEST.PRECISION)
        self.cfg = cfg
        step, cells = self.model.size_divisibility, self.model.map_cells
        self.view = build_view(cfg) if benchmark_view else build_native_view(cfg, step, cells)

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        options: tuple[str, ...] = (),
        precision: str | None = None,
        revision: str | None = None,
    ) -> Predictor:
        """Load a model folder, see :meth:`save_pretrained`, or a model of the Hugging Face hub (extra ``hub``).

        Args:
            model: a folder; or ``owner/name`` if there is no such path here.
            options, precision: those of the class.
            revision: a branch, tag or commit of the hub; by default its main branch.

        Raises:
            InputError: there is no such folder or model, or it has no weights.
        """
        if revision is not None and parse_id(model) is None:
            raise InputError(f"revision: {model} is no model of the hub, or there is such a path here; leave it out")
        folder = local_path(model if revision is None else f"{model}@{revision}")
        if not paths.is_folder(folder):
            raise InputError(
                f"{folder}: no such folder; give one that 'sgovss export --format folder' wrote, or a model of the hub "
                "(owner/name)"
            )
        return cls(None, weights=folder, options=options, precision=precision)

    def save_pretrained(
        self,
        folder: str | Path,
        licence: str | None = None,
        scores: str | Path | None = None,
        name: str | None = None,
    ) -> None:
        """Write a self-contained model without pickle.

        The folder has ``model.safetensors``, ``config.yaml``, ``README.md`` (a card) and ``mlm.json`` (a STAC item).

        Args:
            folder: it is created if needed.
            licence: of the model, for its card; by default that of the model folder that it was read from.
            scores: OUTPUT_DIR of an evaluation of these weights, for its card; by default likewise.
            name: of the model, for its card; by default that of the folder.

        Raises:
            InputError: the weights of this predictor are not in float32, the folder cannot be written to, or there are
                no scores.
        """
        if self.cfg.TEST.PRECISION != "float32":
            raise InputError(
                f"save_pretrained: the weights are in {self.cfg.TEST.PRECISION}; load the predictor with "
                "precision='float32'"
            )
        folder, cfg = Path(folder), portable_config(self.cfg)
        if self._trained_on is None:  # not fine-tuned: every class is unseen
            cfg.DATASETS.TRAIN, cfg.DATASETS.UNSEEN = (), []
        else:  # whatever the config of this predictor would train on
            cfg.DATASETS.update({key: self._trained_on[key] for key in ("SPECIFICATIONS", "TRAIN", "UNSEEN")})
        stated, recorded = stated_licence_and_scores(stated_properties(self.cfg.MODEL.WEIGHTS), cfg)
        if scores is not None:
            recorded = read_scores(Path(scores), cfg)
        base = base_weights(self.cfg.MODEL.WEIGHTS, cfg.MODEL.CLIP.NAME, cfg.MODEL.CLIP.WEIGHTS)
        cfg.MODEL.CLIP.WEIGHTS = base.name  # no path of this machine
        write_model(self.model, cfg, folder)
        facts = collect_facts(self.model, cfg, folder, base, licence or stated, recorded, name)
        with atomic_path(folder / "README.md") as partial:
            partial.write_text(card(facts), encoding="utf-8")
        write_json_atomically(folder / "mlm.json", stac_item(facts))

    def push_to_hub(
        self, model: str, licence: str | None = None, scores: str | Path | None = None, private: bool = False
    ) -> str:
        """Publish a model folder on the Hugging Face hub (extra ``hub``), see :meth:`save_pretrained`.

        Args:
            model: ``owner/name``, or ``owner/name@branch`` for an existing branch; the repository is made if needed.
            licence, scores: those of :meth:`save_pretrained`.
            private: whether a new repository is private.

        Returns:
            the address of the commit.

        Raises:
            InputError: the name is none of the hub, the folder cannot be written, or the hub refuses or cannot be
                reached.
        """
        target = hub_id(model)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, licence, scores, target.repository)
            return publish(Path(folder), target, private)

    @functools.cached_property
    def fingerprint(self) -> str:
        """A digest of weights and config: predictors of equal fingerprint give equal scores."""
        weights = f"{fingerprint(self.model.image_encoder, self.model.head)} {self.model.text_embedder.identity}"
        return hashlib.sha256(f"{self.cfg.MODEL.dump()}{self.cfg.TEST.PRECISION}{weights}".encode()).hexdigest()

    def __call__(self, image: ImageInput, vocabulary: Words, rejection: Rejection = NOTHING_REJECTED) -> Segmentation:
        """Segment one image; see :func:`segment_image`."""
        return segment_image(self.model, image, vocabulary, rejection, self.view)


def segment_image(
    model: SegmentationModel, image: ImageInput, vocabulary: Words, rejection: Rejection, view: View
) -> Segmentation:
    """Segment one image.

    Args:
        model: in inference mode.
        image: an array (H, W, 3) uint8 RGB, a PIL image, or the path of an image file.
        vocabulary: the classes, in any form that :meth:`Vocabulary.of` takes.
        rejection: rule for labelling pixels as "other", which is then the last class of the legend.
        view: how the image is seen.

    Returns:
        labels and scores of the size of the image.

    Raises:
        InputError: the image cannot be read, has another shape or type or no pixel, or a class name is wrong.

    Warns:
        UserWarning: the classes may have been read in another way than meant, see :meth:`Rejection.classes`.
    """
    if not isinstance(rejection, Rejection):
        raise InputError(f"rejection: expected Rejection(threshold, background), not {type(rejection).__name__}")
    pixels = rgb_pixels(image)
    classes = rejection.classes(vocabulary)
    # np.array copies: torch needs writable memory.
    tensor = torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C")).to(model.device)
    labels, best = model.score_image(tensor, rejection.scored(classes), view).best()
    labels = rejection.reject(labels, best, len(classes))
    result = Segmentation(labels.cpu().numpy(), rejection.legend(classes), best.cpu().numpy(), image=pixels)
    if isinstance(image, str | os.PathLike):
        result.source = Path(image)
    return result


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
    if not isinstance(config, CfgNode):
        return load_config(config or EMBEDDED_CONFIG, options)
    cfg = config.clone()
    cfg.defrost()
    add_options(cfg, options)
    return cfg
