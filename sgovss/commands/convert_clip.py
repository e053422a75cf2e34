"""Conversion of published CLIP weights to one safetensors file, with all checks."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from open_clip.model import resize_pos_embed
from safetensors.torch import save_file
from torch import nn

from sgovss.errors import InputError
from sgovss.files import atomic_path, sha256
from sgovss.hub import WEIGHTS, local_path, parse_id
from sgovss.modeling.clip_configuration import model_configuration
from sgovss.modeling.clip_layouts import State
from sgovss.modeling.clip_settings import find_activation, find_statistics
from sgovss.modeling.clip_weights import Weights, compare, has_square_grid, read_weights
from sgovss.modeling.image_encoder import CLIPImageEncoder
from sgovss.modeling.known_weights import Activation, StatedActivation, find_known
from sgovss.modeling.open_clip_models import create_model
from sgovss.modeling.weights_file import expect_file

POSITIONS = "visual.positional_embedding"


def decide_activation(path: Path, name: str, asked: Activation | None) -> StatedActivation:
    """Find the activation that the weights were trained with.

    Args:
        path: file of the weights.
        name: open_clip's name of the architecture.
        asked: the activation that the user gave, or None.

    Returns:
        the activation, and the reason for it.

    Raises:
        InputError: the activation is not known.
    """
    if asked:
        return StatedActivation(asked, "--activation")
    if found := find_activation(name, path):
        return found
    raise InputError(
        f"{path}: the activation the weights were trained with is not known; give --activation quick_gelu if they are "
        "fine-tuned from OpenAI's weights, --activation gelu if from LAION's or trained from scratch"
    )


def resize_positions(state: State, model: nn.Module, name: str, size: int | None, path: Path) -> str:
    """Resize the image encoder's positional embedding to the model's grid, in place.

    Args:
        state: the weights.
        model: the model that the weights are for.
        name: open_clip's name of the model.
        size: side of the images in pixels that the user gave, or None.
        path: file of the weights, for messages.

    Returns:
        A description of the change; empty if none was needed.

    Raises:
        InputError: the grids differ and no size was given, the grid of the weights is not square, or a size was given
            and the image encoder has no positional embedding.
    """
    visual: Any = model.visual
    expected = getattr(visual, "positional_embedding", None)
    found = state.get(POSITIONS)
    if expected is None and size:
        raise InputError(f"--image-size: {name} has no positional embedding of images to resize; leave it out")
    if expected is None or found is None or found.shape == expected.shape or found.shape[1:] != expected.shape[1:]:
        return ""
    if not has_square_grid(state):
        raise InputError(
            f"{path}: the positional embedding is {tuple(found.shape)}, which is not that of square images; {name} "
            "needs a class token and a square grid"
        )
    patch = visual.patch_size[0]
    before, after = (patch * math.isqrt(len(table) - 1) for table in (found, expected))
    if not size:
        raise InputError(
            f"{path}: the positional embedding is for images of {before} px, that of {name} for {after}; give a "
            f"--model of that size (such as ViT-L-14-336), or --image-size {after} to resize it"
        )
    resize_pos_embed(state, model)
    return f"positional embedding resized from {before} to {after} px"


def check(state: State, model: nn.Module, name: str, path: Path) -> None:
    """Compare the tensors' names, shapes and values with the architecture's.

    Raises:
        InputError: the weights belong to another architecture, are incomplete, or are not finite.
    """
    found = compare(state, model)
    if found.shapes or found.unknown:
        first = found.shapes[0] if found.shapes else f"{name} has no {found.unknown[0]}"
        raise InputError(
            f"{path} is not {name}: {len(found.shapes)} tensors of another shape, {len(found.unknown)} unknown, "
            f"{len(found.missing)} missing ({first}); name its architecture with --model"
        )
    if found.missing:
        raise InputError(found.incomplete(path))
    if broken := [key for key, value in state.items() if not value.isfinite().all()]:
        raise InputError(f"{path} is damaged: {broken[0]} holds infinite or NaN values; copy the file again")


def halve(state: State) -> State:
    """Convert floating-point tensors to half precision.

    Raises:
        InputError: a value is too large.
    """
    halved = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    if large := [key for key, value in halved.items() if not value.isfinite().all()]:
        raise InputError(f"--half: {large[0]} holds values beyond half precision; leave --half out")
    return halved


class Converted(NamedTuple):
    """CLIP weights that were written to a file.

    Attributes:
        source: description of the file they come from.
        metadata: of the file that was written.
    """

    source: str
    metadata: dict[str, str]


def convert_file(arguments: argparse.Namespace, output: Path) -> Converted:
    """Read and check CLIP weights, and write them to a safetensors file."""
    path = local_path(arguments.weights)
    of_hub = parse_id(arguments.weights) is not None
    if of_hub:
        path = path / WEIGHTS
    expect_file(path)
    known = find_known(path)
    name = arguments.model or (known and known.model)
    if not name:
        raise InputError(f"{path}: the file name is not one of a known architecture (see --list); give it with --model")
    model = build(name, arguments.image_size)
    weights = read_weights(path, model, arguments.trust_pickle, arguments.prefix)
    activation = decide_activation(path, name, arguments.activation)
    resized = resize_positions(weights.state, model, name, arguments.image_size, path)
    check(weights.state, model, name, path)
    metadata = {
        "format": "pt",
        "written_by": "sgovss convert",
        "source": f"{arguments.weights}/{path.name}" if of_hub else path.name,
        "source_sha256": sha256(path),
        "source_layout": weights.layout,
        "model": name,
        "activation": activation.activation,
        "activation_reason": activation.reason,
        "positions": resized or "as in the source",
    }
    if statistics := find_statistics(name, str(path)):
        metadata |= {key: json.dumps(values) for key, values in statistics._asdict().items()}
    state = halve(weights.state) if arguments.half else weights.state
    with atomic_path(output) as partial:
        save_file({key: value.contiguous() for key, value in state.items()}, partial, metadata)
    return Converted(_described_source(weights, metadata), metadata)


def build(name: str, size: int | None) -> nn.Module:
    """Build the model that the weights are for.

    Args:
        name: open_clip's name of the model.
        size: side of its images in pixels; None for the default.

    Returns:
        a CLIP model of open_clip.

    Raises:
        InputError: there is no such model, or sgovss cannot take dense feature maps from it.
    """
    vision = model_configuration(name)["vision_cfg"]
    patch = vision.get("patch_size") or 1
    if size is not None and (size <= 0 or size % patch):
        raise InputError(f"--image-size: {size} is not a positive multiple of {name}'s patch size {patch}")
    model = create_model(name, vision_cfg={**vision, "image_size": size} if size else vision)
    CLIPImageEncoder(visual=model.visual, tuning="none")
    return model


def _described_source(weights: Weights, metadata: dict[str, str]) -> str:
    values = sum(value.numel() for value in weights.state.values())
    lines = [
        f"{metadata['source']}: layout {weights.layout}, {len(weights.state)} tensors, {values / 1e6:,.1f} M values, "
        f"{weights.dtype}, SHA-256 {metadata['source_sha256']}",
        f"taken off the names: {weights.prefix or 'nothing'}",
        f"left out: {', '.join(weights.left_out) or 'nothing'}",
        f"architecture {metadata['model']}: every tensor fits",
        f"activation {metadata['activation']} ({metadata['activation_reason']})",
        f"positions: {metadata['positions']}",
        f"pixel statistics: {_described(metadata)}",
    ]
    return "\n".join(lines)


def _described(metadata: dict[str, str]) -> str:
    if "mean" not in metadata:
        return "not known; OpenAI's are used unless MODEL.PIXEL_MEAN and MODEL.PIXEL_STD are set"
    return f"mean {metadata['mean']}, standard deviation {metadata['std']}"
