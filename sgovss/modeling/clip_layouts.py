"""Reading of published CLIP weights files; converts their layouts to the state dict of open_clip.

- ``open_clip``: a state dict with the keys of :class:`open_clip.CLIP`. In a training checkpoint it is under
  ``state_dict``, often with ``module.`` before every key.
- ``openai``: OpenAI's TorchScript archives, in half precision, with settings in the state dict.
- ``transformers``: Hugging Face's ``CLIPModel``, with separate query, key and value weights and transposed projections.
- ``itra``: ``image_backbone.`` and ``text_backbone.`` before the keys, as saved by the training code of GeoRSCLIP and
  RemoteCLIP (om-ai-lab/RS5M, inference/convert_weight.py).
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
    ("vision_model.pre_layrnorm.", "visual.ln_pre."),  # sic
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
    """The content of a weights file.

    Attributes:
        state: state dict with open_clip's keys, floating-point tensors in float32.
        layout: one of the layouts of this module.
        dtype: dtype of the floating-point tensors in the file, such as ``float16``; several dtypes are joined by "and".
        left_out: keys of the file's other content, such as an optimizer's state.
    """

    state: State
    layout: str
    dtype: str
    left_out: tuple[str, ...]


def read_weights(path: Path, trusted: bool = False) -> Weights:
    """Read a file of CLIP weights.

    Args:
        path: .pt, .pth, .bin or .safetensors.
        trusted: whether to unpickle Python objects in it, which can run any program.

    Raises:
        InputError: the file is missing or damaged, has Python objects and is not trusted, or has no state dict.
    """
    if not path.is_file():
        raise InputError(f"no file {path}; give a file of CLIP weights (.pt, .pth, .bin or .safetensors)")
    archive = is_torchscript(path)
    content = _read(path, archive, trusted)
    nested = isinstance(content.get("state_dict"), dict)
    state = content["state_dict"] if nested else content
    left_out = tuple(key for key in content if key != "state_dict") if nested else ()
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{path}: no state dict in this file; give one with the weights of a CLIP model")
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
            "copy it again, get a file of weights only from its authors, or, if you trust them, give --trust-pickle"
        ) from error
    except Exception as error:  # a damaged file can raise many kinds of errors
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
    """Stack queries, keys and values, and transpose the projections to (in, out); missing tensors stay missing."""
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
