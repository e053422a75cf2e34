"""Segment with an ONNX file: the image path in onnxruntime, the text encoder in torch."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from detectron2.config import CfgNode

from sgovss.config import add_options, config_from_dump
from sgovss.errors import InputError
from sgovss.export.image_path import Run, starts_of
from sgovss.export.onnx_file import OnnxImagePath
from sgovss.fingerprint import fingerprint
from sgovss.inference.predictor import Predictor
from sgovss.modeling.clip_models import load_clip
from sgovss.modeling.text_embedder import TextEmbedder
from sgovss.modeling.views import View, build_view
from sgovss.vocabulary import Vocabulary

_OPEN_KEYS = ("MODEL.CLIP.WEIGHTS", "MODEL.CLIP.TEMPLATES", "MODEL.CLIP.KEEP_TEXT")
"""Of MODEL, those that are about the text side."""


@dataclass(frozen=True)
class ExportedModel:
    """What a predictor needs of a model, from an exported image path.

    Args:
        run: the image path.
        text_embedder: embeds vocabularies.
        view: how an image is looked at.

    Attributes:
        device: where it takes images.
    """

    run: Run
    text_embedder: TextEmbedder
    view: View

    device = torch.device("cpu")

    def scores(self, images: torch.Tensor, vocabulary: Vocabulary) -> torch.Tensor:
        """Images (B, 3, H, W) in 0..255 -> scores (B, T, H, W) in 0..1, the best word of each class."""
        text = self.text_embedder(vocabulary)
        return self.run(images.float(), text.embeddings, starts_of(text.owners, len(vocabulary)))


class OnnxPredictor(Predictor):
    """A predictor whose image path is an ONNX file; the weights of its text encoder are those that the config in the
    file names.

    Args:
        path: written by ``sgovss export``.
        options: alternating config keys and values on top of the config in the file.

    Raises:
        InputError: the file is wrong, an option would change what is fixed in it, or the text encoder's weights are
            missing or not those it was exported with.
    """

    def __init__(self, path: str | Path, options: tuple[str, ...] = ()) -> None:
        run = OnnxImagePath(path)
        self.path = run.path
        self.cfg = onnx_config(run, options)
        clip = self.cfg.MODEL.CLIP
        embedder = TextEmbedder(self.cfg, load_clip(clip.NAME, clip.WEIGHTS, clip.ACTIVATION)).eval()
        if fingerprint(embedder) != run.metadata["text_encoder_sha256"]:
            raise InputError(
                f"MODEL.CLIP.WEIGHTS: the text encoder of '{clip.WEIGHTS}' is not the one that {path} was exported "
                "with; give the weights that the model was trained from"
            )
        self.model = ExportedModel(run, embedder, build_view(self.cfg))

    @functools.cached_property
    def fingerprint(self) -> str:
        """A digest of file and config: two predictors with one fingerprint see an image alike."""
        return hashlib.sha256(self.path.read_bytes() + self.cfg.MODEL.dump().encode()).hexdigest()


def onnx_config(run: OnnxImagePath, options: Sequence[str]) -> CfgNode:
    """The config in an ONNX file, with options on top.

    Raises:
        InputError: an option would change what is fixed in the file, or is wrong.
    """
    for key in options[::2]:
        if key.startswith("MODEL.") and key not in _OPEN_KEYS:
            raise InputError(f"options: {key} is fixed in {run.path}; export the model anew to change it")
    cfg = config_from_dump(run.metadata["config"], run.path)
    add_options(cfg, options)
    return cfg
