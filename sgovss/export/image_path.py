"""The image path (a model without its text encoder) as one graph, and the comparison of an exported file with it."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame
from torch import nn
from torch.export import Dim, ExportedProgram

from sgovss.errors import InputError
from sgovss.modeling.efficientnet import SameConv2d
from sgovss.modeling.image_encoder import CLIPImageEncoder
from sgovss.modeling.logits import best_word, scores_of
from sgovss.modeling.meta_arch import SGOVSS
from sgovss.vocabulary import Vocabulary

Run = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""A function with the inputs and the output of :meth:`ImagePath.forward`."""

INPUTS = {"images": {0: "batch", 2: "height", 3: "width"}, "embeddings": {0: "words"}, "starts": {0: "classes"}}
"""The inputs in order, each with the names of its axes of variable size. "words" counts class names and synonyms."""

TOLERANCE = 1e-4
"""Largest difference allowed between the scores (0..1) of an exported file and of the model."""

_VOCABULARIES = (
    "building",
    "building|house, road, tree|forest|wood, water",
    "building, road, tree, water, bare soil, car, ship, farmland, storage tank, tennis court, swimming pool, runway",
)


class ImagePath(nn.Module):
    """A model without its text encoder: :meth:`SGOVSS.scores` for given text embeddings.

    Args:
        model: in inference mode and float32, without the frozen encoder; it is not changed.
    """

    def __init__(self, model: SGOVSS) -> None:
        super().__init__()
        # A copy without the text encoder, because padding is replaced below.
        self.model = copy.deepcopy(model, {id(model.text_embedder): None}).requires_grad_(False)
        _pad_in_advance(self.model.image_encoder)

    def forward(self, images: torch.Tensor, embeddings: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
        """Segment images.

        Args:
            images: (B, 3, H, W) float32 RGB in 0..255, of any size.
            embeddings: (N, D) float32, L2-normalised; one row for each name and synonym, class after class.
            starts: (T,) int64, the row of the name of each class; 0, 1, 2, ... if no class has a synonym.

        Returns:
            (B, T, H, W) float32 scores in 0..1; a class has the score of its best name or synonym.
        """
        encoded = self.model.encode(images)
        rows = torch.arange(embeddings.shape[0], device=embeddings.device)
        owners = (rows[:, None] >= starts).sum(dim=1) - 1
        logits = best_word(self.model.head(encoded.levels, embeddings), owners, starts.shape[0])
        return scores_of(logits, encoded.padded_size, encoded.size)


def starts_of(owners: torch.Tensor, classes: int) -> torch.Tensor:
    """Find the first embedding of each class.

    Args:
        owners: (N,) int64, the class of each embedding, in ascending order.
        classes: T.

    Returns:
        (T,) int64 row numbers.
    """
    return torch.searchsorted(owners, torch.arange(classes, device=owners.device))


def trace(model: SGOVSS) -> ExportedProgram:
    """Trace the image path as a program of torch.export, for any number of images, names and classes and any size.

    ``program.module(check_guards=False)`` runs it. The guards reject other memory layouts, which occur at other sizes
    and do not change the results. They are therefore switched off; :func:`expect_equal` checks the results instead.
    """
    path = ImagePath(model)
    encoder, device = model.image_encoder, model.device
    assert isinstance(encoder, CLIPImageEncoder)
    divisor = encoder.size_divisibility
    # All sizes must differ from each other and from 1; the trace would treat them as equal or as constants otherwise.
    images = torch.zeros(2, 3, 7 * divisor - 5, 4 * divisor - 3, device=device)
    embeddings = torch.ones(7, encoder.output_shape()["dense"].channels, device=device)
    starts = torch.arange(5, device=device)
    shapes = {name: dict.fromkeys(axes, Dim.DYNAMIC) for name, axes in INPUTS.items()}
    # With gradients enabled the decoder computes all classes at once. Otherwise the size of its chunks of classes would
    # depend on the input.
    with torch.enable_grad():
        return torch.export.export(path, (images, embeddings, starts), dynamic_shapes=shapes)


@torch.no_grad()
def expect_equal(model: SGOVSS, run: Run, size: int, source: str) -> float:
    """Compare an exported image path with its model, on random images and several vocabularies.

    Args:
        model: in inference mode.
        run: the exported image path.
        size: side of the largest images in pixels; more than 1.5 times the size divisibility of the encoder.
        source: name of the file for messages.

    Returns:
        the largest difference between scores in 0..1.

    Raises:
        InputError: the difference is larger than :data:`TOLERANCE`.
    """
    generator = torch.Generator().manual_seed(0)
    shapes = [(1, size, size), (2, size * 2 // 3, size - 1), (3, size - 1, size * 2 // 3)]
    differences = []
    for shape, words in zip(shapes, _VOCABULARIES, strict=True):
        images = torch.randint(0, 256, (shape[0], 3, *shape[1:]), generator=generator).float().to(model.device)
        vocabulary = Vocabulary.from_string(words)
        text = model.text_embedder(vocabulary)
        found = run(images, text.embeddings, starts_of(text.owners, len(vocabulary)))
        differences.append((found - model.scores(images, vocabulary)).abs().max())
    return expect_small(torch.stack(differences).max().item(), source)


def expect_small(difference: float, source: str) -> float:
    """Return a difference between scores; raise an InputError if it is larger than :data:`TOLERANCE`."""
    if not difference <= TOLERANCE:
        raise InputError(
            f"{source}: scores differ from the model's by {difference:.2g}, more than {TOLERANCE:g}; no file is "
            "written. Please report the versions of torch, onnxscript and onnxruntime"
        )
    return difference


class _PaddedConvolution(nn.Module):
    """A "same" convolution of timm with constant padding, for inputs whose size is a multiple of the stride.

    For these inputs the total padding is kernel size minus stride. timm computes the padding from the input size. In a
    trace, that would be a formula of the image size which grows with every layer.
    """

    def __init__(self, layer: Conv2dSame | SameConv2d) -> None:
        super().__init__()
        self.layer = layer
        missing = [max(0, kernel - stride) for kernel, stride in zip(layer.kernel_size, layer.stride, strict=True)]
        self.padding = [part for side in reversed(missing) for part in (side // 2, side - side // 2)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        layer = self.layer
        return F.conv2d(F.pad(x, self.padding), layer.weight, layer.bias, layer.stride, groups=layer.groups)


def _pad_in_advance(module: nn.Module) -> None:
    """Replace convolutions that compute their padding from the size of the input, in place."""
    for name, child in module.named_children():
        if isinstance(child, Conv2dSame | SameConv2d):
            setattr(module, name, _PaddedConvolution(child))
        else:
            _pad_in_advance(child)
