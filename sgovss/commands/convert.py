"""Convert published CLIP weights to one safetensors file for MODEL.CLIP.WEIGHTS.

examples:
  sgovss convert RemoteCLIP-ViT-B-32.pt --output weights/remoteclip.safetensors
  sgovss convert epoch_20.pt --model ViT-L-14 --activation quick_gelu --output mine.safetensors
  sgovss convert --list

Reads what MODEL.CLIP.WEIGHTS reads: open_clip's state dicts and training checkpoints (RemoteCLIP, GeoRSCLIP, SkyCLIP),
OpenAI's archives and the layout of Hugging Face's transformers. The output file holds only the weights. Its metadata
names their source, and the activation and pixel statistics they were trained with, which sgovss then uses.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from open_clip.model import resize_pos_embed
from safetensors.torch import save_file
from torch import nn

from sgovss.errors import InputError, command
from sgovss.files import atomic_path
from sgovss.modeling.clip_configuration import model_configuration
from sgovss.modeling.clip_layouts import State
from sgovss.modeling.clip_settings import find_activation, find_statistics
from sgovss.modeling.clip_weights import Weights, compare, has_square_grid, read_weights
from sgovss.modeling.image_encoder import CLIPImageEncoder
from sgovss.modeling.known_weights import Activation, StatedActivation, find_known, known_families
from sgovss.modeling.open_clip_models import create_model

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


def convert(arguments: argparse.Namespace) -> str:
    """Read, check and write the weights; returns a report to print."""
    path, output = Path(arguments.weights), Path(arguments.output)
    if output.suffix != ".safetensors":
        raise InputError(f"--output: {output} must end in .safetensors")
    if output.exists() and not arguments.overwrite:
        raise InputError(f"--output: {output} exists already; give another name or --overwrite")
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
        "source": path.name,
        "source_sha256": _sha256(path),
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
        mode = partial.stat().st_mode
        save_file({key: value.contiguous() for key, value in state.items()}, partial, metadata)
        partial.chmod(mode)  # safetensors ignores the umask: only the owner could read the file
    return report(weights, metadata, output, arguments.half)


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


def report(weights: Weights, metadata: dict[str, str], output: Path, half: bool) -> str:
    """Describe the source, the output file, and the config options that use it."""
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
        f"wrote {output} in {'half' if half else 'single'} precision; use it with",
        f"    MODEL.CLIP.NAME {metadata['model']} MODEL.CLIP.WEIGHTS {output}",
    ]
    return "\n".join(lines)


def _described(metadata: dict[str, str]) -> str:
    if "mean" not in metadata:
        return "not known; OpenAI's are used unless MODEL.PIXEL_MEAN and MODEL.PIXEL_STD are set"
    return f"mean {metadata['mean']}, standard deviation {metadata['std']}"


def list_known() -> str:
    """Return a text that lists the published files whose architecture and activation are known by file name."""
    lines = []
    for family, facts in known_families().items():
        lines += [family, *textwrap.wrap(f"{facts.where}: {facts.layout}", initial_indent="  ", subsequent_indent="  ")]
        for entry in facts.entries:
            lines.append(f"  {', '.join(entry.files)}: {entry.model}, {entry.activation}, {entry.certainty}:")
            lines += textwrap.wrap(entry.why, initial_indent="      ", subsequent_indent="      ")
    lines += [
        "open_clip",
        "  every file in a folder with the name of a repository that open_clip lists (such as",
        "  vit_base_patch16_clip_224.openai), and every release file that it lists: as open_clip says",
    ]
    return "\n".join(lines)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``sgovss convert``; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="?", help="the file to convert (.pt, .pth, .bin, .safetensors)")
    parser.add_argument("--output", help="the file to write (.safetensors)")
    parser.add_argument("--model", help="open_clip's name of the architecture; default: by the file name, "
                        "see --list")  # fmt: skip
    parser.add_argument(
        "--activation",
        choices=("gelu", "quick_gelu"),
        help="activation the weights were trained with, if it is not known",
    )
    parser.add_argument("--image-size", type=int, metavar="PIXELS", help="resize the positional embedding to square "
                        "images of this side; only for other programs, sgovss resizes it itself")  # fmt: skip
    parser.add_argument("--prefix", help="what stands before the names of the weights, such as 'student.', if the file "
                        "has the weights of several models")  # fmt: skip
    parser.add_argument("--half", action="store_true", help="write half precision")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    parser.add_argument("--trust-pickle", action="store_true", help="read a file that holds other Python objects than "
                        "tensors; it can run any code, so use this only if you trust its authors")  # fmt: skip
    parser.add_argument(
        "--list", action="store_true", help="print the files whose architecture and activation are known by file name"
    )
    arguments = parser.parse_args(argv)
    if arguments.list:
        print(list_known())
        return 0
    if not arguments.weights or not arguments.output:
        parser.error("give a file of weights and --output")
    with torch.no_grad():
        print(convert(arguments))
    return 0
