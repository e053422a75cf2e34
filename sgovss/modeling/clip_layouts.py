"""Weights files of CLIP models in the layouts they are published in, read into open_clip's.

- ``open_clip``: a state dict with the keys of :class:`open_clip.CLIP`, bare or under ``state_dict`` in a training
  checkpoint, and then often with ``module.`` before every key.
- ``openai``: OpenAI's archives: TorchScript, half precision, settings among the weights.
- ``transformers``: Hugging Face's ``CLIPModel``: queries, keys and values apart, projections transposed.
- ``itra``: ``image_backbone.`` and ``text_backbone.`` before the keys, as the code that GeoRSCLIP and RemoteCLIP were
  trained with saves them (om-ai-lab/RS5M, inference/convert_weight.py).
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file

from sgovss.errors import InputError
from sgovss.modeling.clip_models import NO_WEIGHTS, is_torchscript
from sgovss.modeling.torchscript import read_torchscript

State = dict[str, torch.Tensor]

_ITRA = (("image_backbone.", "visual."), ("text_backbone.", ""))
_TRANSFORMERS = (
    ("vision_model.embeddings.class_embedding", "visual.class_embedding"),
    ("vision_model.embeddings.patch_embedding.", "visual.conv1."),
    ("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"),
    ("vision_model.pre_layrnorm.", "visual.ln_pre."),  # spelt so there
    ("vision_model.post_layernorm.", "visual.ln_post."),
    ("vision_model.encoder.layers.", "visual.transformer.resblocks."),
    ("visual_projection.weight", "visual.proj"),
    ("text_model.embeddings.token_embedding.", "token_embedding."),
    ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
    ("text_model.encoder.layers.", "transformer.resblocks."),
    ("text_model.final_layer_norm.", "ln_final."),
    ("text_projection.weight", "text_projection"),
    (".self_attn.", ".attn."),
    (".layer_norm1.", ".ln_1."),
    (".layer_norm2.", ".ln_2."),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
)


class Weights(NamedTuple):
    """What a file of weights holds.

    state: open_clip's keys; floating-point tensors in float32.
    layout: one of those above.
    dtype: of the file's floating-point tensors, such as ``float16``; several are named together.
    left_out: what else the file holds, such as an optimizer's state.
    """

    state: State
    layout: str
    dtype: str
    left_out: tuple[str, ...]


def read_weights(path: Path, trusted: bool = False) -> Weights:
    """Read a file of CLIP weights.

    Args:
        trusted: build the Python objects that it may hold beside tensors, which can run any program.

    Raises:
        InputError: the file is missing or damaged, holds Python objects and is not trusted, or no state dict of a CLIP
            model.
    """
    if not path.is_file():
        raise InputError(f"no file {path}; give a file of CLIP weights (.pt, .pth, .bin or .safetensors)")
    archive = is_torchscript(path)
    content = _read(path, archive, trusted)
    nested = isinstance(content.get("state_dict"), dict)
    state = content["state_dict"] if nested else content
    left_out = tuple(key for key in content if key != "state_dict") if nested else ()
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{path}: no state dict in this file; give one that holds a CLIP model's weights")
    if all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    dtypes = sorted({str(value.dtype).removeprefix("torch.") for value in state.values() if value.is_floating_point()})
    layout, state = ("openai", _without_settings(state)) if archive else _to_open_clip(state)
    state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    return Weights(state, layout, " and ".join(dtypes), left_out)


def _read(path: Path, archive: bool, trusted: bool) -> dict[str, Any]:
    try:
        if archive:
            return read_torchscript(path)
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=not trusted)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: damaged, or holds Python objects beside tensors, which are not read because they can run code; "
            "copy it again, get the weights alone from its authors, or, if you trust them, give --trust-pickle"
        ) from error
    except Exception as error:  # what a damaged file raises depends on where it is cut
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise InputError(f"{path}: cannot be read as weights ({reason}); it may be cut short: copy it again") from error
    return content if isinstance(content, dict) else {}


def _to_open_clip(state: State) -> tuple[str, State]:
    if any(key.startswith("vision_model.") for key in state):
        return "transformers", _rename(_fuse(state), _TRANSFORMERS)
    if any(key.startswith("image_backbone.") for key in state):
        return "itra", _rename(state, _ITRA)
    return "open_clip", state


def _without_settings(state: State) -> State:
    return {key: value for key, value in state.items() if key not in NO_WEIGHTS}


def _fuse(state: State) -> State:
    """Queries, keys and values stacked, projections (in, out); what is missing stays missing."""
    fused = {key: value for key, value in state.items() if not key.endswith(".position_ids")}
    for key in [key for key in fused if ".q_proj." in key]:
        names = [key.replace(".q_proj.", f".{part}_proj.") for part in "qkv"]
        if all(name in fused for name in names):
            fused[key.replace(".q_proj.", ".in_proj_")] = torch.cat([fused.pop(name) for name in names])
    for key in fused.keys() & {"visual_projection.weight", "text_projection.weight"}:
        fused[key] = fused[key].T
    return fused


def _rename(state: State, names: tuple[tuple[str, str], ...]) -> State:
    renamed = {}
    for key, value in state.items():
        for old, new in names:
            key = key.replace(old, new)
        renamed[key] = value
    return renamed
