"""Layouts of published CLIP weights, and their conversion to the state dict of an open_clip model.

- ``open_clip``: a state dict with the keys of :class:`open_clip.CLIP` or :class:`open_clip.CustomTextCLIP`.
- ``transformers``: Hugging Face's ``CLIPModel``, with separate query, key and value weights and transposed projections.
- ``itra``: ``image_backbone.`` and ``text_backbone.`` before the keys, as saved by the training code of GeoRSCLIP and
  RemoteCLIP (om-ai-lab/RS5M, inference/convert_weight.py).
- ``apple``: MobileCLIP's own, with ``image_encoder.`` and ``text_encoder.`` before the keys.
"""

from __future__ import annotations

import contextlib

import torch
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict
from torch import nn

State = dict[str, torch.Tensor]

_SETTINGS = ("input_resolution", "context_length", "vocab_size", "attn_mask")
"""Entries in the state dicts of OpenAI's archives that are not weights."""

IMAGE_TOWERS = {
    "visual": "open_clip",
    "vision_model": "transformers",
    "image_backbone": "itra",
    "image_encoder": "apple",
}
"""Names of the image tower, and the layout that has it."""

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


def to_open_clip(state: State, model: nn.Module) -> tuple[str, State]:
    """The layout of a state dict, and its tensors by the names of an open_clip model."""
    towers = {key.split(".")[0] for key in state}
    layout = next(layout for tower, layout in IMAGE_TOWERS.items() if tower in towers)
    if layout == "transformers":
        state = _rename(_fuse(state), _TRANSFORMERS)
    elif layout == "itra":
        state = _rename(state, _ITRA)
    elif layout == "apple":
        with contextlib.suppress(Exception):  # for another model; the comparison tells
            state = convert_state_dict(model, state)
    state = {key: value for key, value in state.items() if key not in _SETTINGS}
    return layout, _in_form_of(model, state)


def _in_form_of(model: nn.Module, state: State) -> State:
    """Adapt what differs between versions of open_clip: the text tower's names, and the shapes of single values."""
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    expected = model.state_dict()
    if "logit_bias" in expected and "logit_bias" not in state:
        state = {**state, "logit_bias": torch.zeros_like(expected["logit_bias"], device="cpu")}
    for key in state.keys() & {"logit_scale", "logit_bias"} & expected.keys():
        if state[key].numel() == 1:
            state[key] = state[key].reshape(expected[key].shape)
    ids = "text.transformer.embeddings.position_ids"  # in files of transformers up to 4.30
    return {key: value for key, value in state.items() if key != ids or key in expected}


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
