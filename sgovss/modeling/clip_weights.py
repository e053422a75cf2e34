"""Reading of CLIP weights: finds them in a file's content, whatever stands before their names.

A state dict may be nested in other dicts, and its keys may have a prefix, such as ``state_dict`` and ``module.`` in a
training checkpoint. Weights are looked for at every prefix.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from open_clip.model import resize_pos_embed, resize_text_pos_embed
from torch import nn

from sgovss.errors import InputError
from sgovss.modeling.clip_layouts import IMAGE_TOWERS, State, to_open_clip
from sgovss.modeling.weights_file import Format, file_format, read_content, refuse_non_finite

logger = logging.getLogger(__name__)

_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""Parts of keys that come from wrapping a module for several processes, compiling or gradient checkpointing."""

_CONTAINERS = ("state_dict", "model_state_dict", "model", "weights")
"""Names of the entry with the weights in a training checkpoint, as opposed to averages or a teacher's."""

_POSITIONS = ("visual.positional_embedding", "positional_embedding", "text.positional_embedding")
"""Tables that are resized to the model's number of positions."""


class Weights(NamedTuple):
    """The content of a weights file.

    Attributes:
        state: state dict with open_clip's keys, floating-point tensors in float32.
        layout: one of those in :mod:`sgovss.modeling.clip_layouts`, or ``openai`` for OpenAI's TorchScript archives.
        dtype: dtype of the floating-point tensors in the file, such as ``float16``; several dtypes are joined by "and".
        prefix: what stood before every key, such as ``state_dict.module.``.
        left_out: names of the file's other content, such as an optimizer's state.
    """

    state: State
    layout: str
    dtype: str
    prefix: str
    left_out: tuple[str, ...]


class Mismatch(NamedTuple):
    """Differences between the tensors of a file and those of a model, one text each.

    Attributes:
        shapes: tensors of another shape.
        unknown: names that the model does not have.
        missing: names that the file does not have.
    """

    shapes: list[str]
    unknown: list[str]
    missing: list[str]

    def incomplete(self, path: Path) -> str:
        """The message for a file that only lacks tensors."""
        part = re.search(r"-\d+-of-\d+", path.name)
        whole = "get a file with the weights of the image and the text encoder"
        remedy = "give the index (*.index.json) of all its parts" if part else whole
        return f"{path} is incomplete: {len(self.missing)} tensors are missing, the first {self.missing[0]}; {remedy}"


def read_weights(path: Path, model: nn.Module, trusted: bool = False, prefix: str | None = None) -> Weights:
    """Read a file of CLIP weights.

    Args:
        path: a file in any format of :func:`read_content`.
        model: the open_clip model that the weights are for. Its names decide which of several sets of tensors are the
            weights; :func:`compare` tells whether they fit.
        trusted: whether to unpickle Python objects in it, which can run any program.
        prefix: what stands before every key of the weights; None to find it.

    Raises:
        InputError: see :func:`read_content`; or the file has no CLIP weights, several models' that fit, or NaN or Inf.
    """
    content = read_content(path, trusted)
    leaves = dict(_leaves(content))
    tensors = {name: value for name, value in leaves.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise InputError(f"{path}: no state dict in this file; give one with the weights of a CLIP model")
    parts = _by_prefix(tensors)
    found = {start: to_open_clip(part, model) for start, part in parts.items()}
    prefix = _choose(found, model, path) if prefix is None else prefix
    if prefix not in found:
        raise InputError(f"--prefix: no image tower of a CLIP model after '{prefix}' in {path}; found {_listed(found)}")
    layout, state = found[prefix]
    if layout == "open_clip" and file_format(path) is Format.TORCHSCRIPT:
        layout = "openai"
    used = {name for name in tensors if _owner(name, parts) == prefix}
    left_out = dict.fromkeys(_outside(name, prefix) for name in leaves if name not in used)
    beside = _beside(state, model)
    left_out |= dict.fromkeys(f"{prefix}{key.split('.')[0]}" for key in beside)
    if prefix:
        message = "%s: the names of the weights start with '%s', which is taken off; left out: %s"
        logger.info(message, path, prefix, ", ".join(left_out) or "nothing")
    dtypes = sorted({str(value.dtype).removeprefix("torch.") for value in state.values() if value.is_floating_point()})
    state = {
        key: value.float() if value.is_floating_point() else value for key, value in state.items() if key not in beside
    }
    own = model.state_dict().keys()
    refuse_non_finite({key: value for key, value in state.items() if key in own}, str(path))
    return Weights(state, layout, " and ".join(dtypes), prefix, tuple(left_out))


def compare(state: State, model: nn.Module) -> Mismatch:
    """Compare the tensors of a file with those of a model by name and shape."""
    expected = model.state_dict()
    shapes = [
        f"{key} is {tuple(state[key].shape)}, not {tuple(expected[key].shape)}"
        for key in expected.keys() & state.keys()
        if state[key].shape != expected[key].shape
    ]
    return Mismatch(sorted(shapes), sorted(state.keys() - expected.keys()), sorted(expected.keys() - state.keys()))


def resize_positions(state: State, model: nn.Module) -> None:
    """Resize positional embeddings of the model's width to its number of positions, in place.

    Tables that cannot be resized stay as they are: those of another width, and those of images that are not square.
    """
    expected = model.state_dict()
    if all(_same_width(state.get(key), expected.get(key)) for key in _POSITIONS) and has_square_grid(state):
        resize_pos_embed(state, model)
        resize_text_pos_embed(state, model)


def _same_width(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    return one is None or other is None or (one.dim() == other.dim() and one.shape[-1] == other.shape[-1])


def has_square_grid(state: State) -> bool:
    """Whether the image tower's positions are a class token and a square grid, or it has none."""
    table = state.get("visual.positional_embedding")
    return table is None or (len(table) > 1 and math.isqrt(len(table) - 1) ** 2 == len(table) - 1)


def _leaves(content: Mapping[Any, Any], start: str = "") -> Iterator[tuple[str, Any]]:
    """The values in nested dicts, by their names joined with dots."""
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{start}{key}.")
        else:
            yield f"{start}{key}", value


def _by_prefix(tensors: State) -> dict[str, State]:
    """The tensors after each prefix that an image tower stands after, the longest prefix first."""
    prefixes = {prefix for name in tensors if (prefix := _prefix_of(name)) is not None}
    parts: dict[str, State] = {prefix: {} for prefix in sorted(prefixes, key=len, reverse=True)}
    for name, value in tensors.items():
        if (prefix := _owner(name, parts)) is not None:
            key = [part for part in name.removeprefix(prefix).split(".") if part not in _WRAPPERS]
            parts[prefix][".".join(key)] = value
    return parts


def _owner(name: str, prefixes: Iterable[str]) -> str | None:
    """The first of several prefixes that a name starts with."""
    return next((prefix for prefix in prefixes if name.startswith(prefix)), None)


def _prefix_of(key: str) -> str | None:
    """What stands before the name of the image tower in a key; None if the key is none of an image tower."""
    names = key.split(".")
    found = [index for index, name in enumerate(names[:-1]) if name in IMAGE_TOWERS]
    return "".join(f"{name}." for name in names[: found[-1]]) if found else None


def _choose(found: dict[str, tuple[str, State]], model: nn.Module, path: Path) -> str:
    """The prefix of the weights that fit a model; if none fit, of those that have most of its names."""
    if not found:
        raise InputError(
            f"{path}: no weights of a whole CLIP model in this file; give one with the weights of the image and the "
            "text encoder (such as open_clip_model.safetensors of a repository for open_clip)"
        )
    expected = model.state_dict().keys()
    whole = [prefix for prefix, (_, state) in found.items() if expected <= state.keys()]
    fitting = [prefix for prefix in whole if not compare(_resized(found[prefix][1], model), model).shapes] or whole
    named = [prefix for prefix in fitting if prefix.split(".")[0] in _CONTAINERS]
    candidates = named if len(named) == 1 else fitting
    if len(candidates) > 1:
        raise InputError(
            f"{path}: the weights of {len(candidates)} CLIP models, under {_listed(candidates)}; keep one of them in "
            "the file, or choose it with 'sgovss convert --prefix'"
        )
    return candidates[0] if candidates else max(found, key=lambda prefix: len(expected & found[prefix][1].keys()))


def _resized(state: State, model: nn.Module) -> State:
    copied = dict(state)
    resize_positions(copied, model)
    return copied


def _beside(state: State, model: nn.Module) -> list[str]:
    """Tensors beside the encoders, such as a classifier's or a loss's; none unless the encoders are whole."""
    expected = model.state_dict().keys()
    own = {key.split(".")[0] for key in expected}
    return [key for key in state if key.split(".")[0] not in own] if expected <= state.keys() else []


def _listed(prefixes: Any) -> str:
    return " and ".join(f"'{prefix}'" for prefix in sorted(prefixes))


def _outside(name: str, prefix: str) -> str:
    """The part of a name up to where it differs from a prefix."""
    names, heads = name.split("."), prefix.split(".")
    equal = next(index for index, part in enumerate(names) if index >= len(heads) or part != heads[index])
    return ".".join(names[: equal + 1])
