"""ONNX files for Deepness, a plugin of QGIS: the words are fixed in the file, and its only input are images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from sgovss.errors import InputError
from sgovss.export.image_path import ImagePath, expect_small, starts_of
from sgovss.export.onnx_file import onnx_session, save_onnx, to_onnx
from sgovss.modeling.logits import with_score_offsets
from sgovss.modeling.meta_arch import SGOVSS
from sgovss.vocabulary import Vocabulary

OPSET = 18
"""onnxruntime 1.17, which the plugin pins, runs opsets up to 20; this is the newest that its operators cover well."""

IR_VERSION = 8
"""Version of the file format that belongs to opset 18; onnxruntime 1.17 reads versions up to 9."""

LEAST_CLASSES = 2
"""With one class, the plugin marks every pixel above a threshold. It has no threshold that fits our scores."""


class FixedWords(nn.Module):
    """A model for one vocabulary, with the plugin's input.

    Args:
        model: in inference mode and float32, without the frozen encoder; it is not changed.
        vocabulary: the T classes.
    """

    embeddings: torch.Tensor
    starts: torch.Tensor

    def __init__(self, model: SGOVSS, vocabulary: Vocabulary) -> None:
        super().__init__()
        text = model.text_embedder(vocabulary)
        self.path = ImagePath(model)
        self.register_buffer("embeddings", text.embeddings)
        self.register_buffer("starts", starts_of(text.owners, len(vocabulary)))
        self.vocabulary = vocabulary

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, 3, H, W) float32 RGB in 0..1 -> scores (N, T, H, W) float32 in 0..1."""
        return with_score_offsets(self.path(255 * images, self.embeddings, self.starts), self.vocabulary)


def trace_words(model: SGOVSS, vocabulary: Vocabulary, size: int) -> ExportedProgram:
    """Trace a model for one vocabulary and square images of one size; the number of images is free."""
    images = torch.zeros(2, 3, size, size, device=model.device)
    # With gradients enabled the decoder computes all classes at once, see sgovss.export.image_path.trace.
    with torch.enable_grad():
        return torch.export.export(
            FixedWords(model, vocabulary), (images,), dynamic_shapes={"images": {0: Dim.DYNAMIC}}
        )


def plugin_metadata(vocabulary: Vocabulary, size: int, overlap: int, resolution: float) -> dict[str, str]:
    """Make the metadata that the plugin reads its settings from.

    Args:
        vocabulary: the T classes.
        size: side of a tile in pixels.
        overlap: overlap of neighbouring tiles in percent of the side.
        resolution: centimetres per pixel to which the plugin resamples the layer.

    Returns:
        JSON texts by name.
    """
    settings = {
        "model_type": "Segmentor",
        "class_names": dict(enumerate(vocabulary.names)),
        "resolution": resolution,
        "tile_size": size,
        "tiles_overlap": overlap,
        # The file normalises the images itself.
        "standardization_mean": [0.0, 0.0, 0.0],
        "standardization_std": [1.0, 1.0, 1.0],
        # The plugin gives pixels below the threshold to the first class, and then filters small regions. Neither is
        # wanted: the labels would differ from those of sgovss.
        "seg_thresh": 0.0,
        "seg_small_segment": 0,
    }
    return {key: json.dumps(value) for key, value in settings.items()}


def write_deepness(program: ExportedProgram, metadata: dict[str, str], path: Path) -> None:
    """Write the program of :func:`trace_words` as one ONNX file with the plugin's metadata."""
    exported = to_onnx(program, {"images": {0: "batch"}}, OPSET)
    exported.model.ir_version = IR_VERSION
    save_onnx(exported, "images: RGB in 0..1. scores: 0..1, one channel per class.", metadata, path)


@torch.no_grad()
def expect_same_scores(model: SGOVSS, vocabulary: Vocabulary, path: Path, size: int, source: str) -> float:
    """Compare a file of :func:`write_deepness` with its model on two random images; return the largest difference.

    Args:
        model: in inference mode, on the CPU.
        vocabulary: the classes of the file.
        path: the file.
        size: side of a tile in pixels.
        source: name of the file for messages.

    Raises:
        InputError: the scores differ by more than :data:`sgovss.export.image_path.TOLERANCE`.
    """
    images = torch.randint(0, 256, (2, 3, size, size), generator=torch.Generator().manual_seed(0)).float()
    run: Callable[..., list] = onnx_session(path).run
    found = torch.from_numpy(run(None, {"images": (images / 255).numpy()})[0])
    return expect_small((found - model.scores(images, vocabulary)).abs().max().item(), source)


def check_tiles(model: SGOVSS, vocabulary: Vocabulary, size: int, overlap: int, resolution: float) -> None:
    """Raise an InputError if the plugin could not use a file with these settings; see :func:`plugin_metadata`."""
    divisor = model.image_encoder.size_divisibility
    if len(vocabulary) < LEAST_CLASSES:
        raise InputError("--words: the plugin needs two classes or more; add one for all the rest, such as 'ground'")
    if size < divisor or size % divisor:
        near = max(1, round(size / divisor)) * divisor
        raise InputError(f"--size {size}: give a multiple of {divisor}, the image encoder's stride, such as {near}")
    if not 0 <= overlap < 100:
        raise InputError(f"--overlap {overlap}: give the overlap of tiles in percent, 0 to 99")
    if not resolution > 0:
        raise InputError(
            "--gsd: the plugin needs the ground sample distance of the tiles, which this config does not state; give "
            "it in metres per pixel, such as --gsd 0.3"
        )
