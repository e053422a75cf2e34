"""CLIP models of open_clip: building them and loading their weights; and their tokenizers."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import open_clip
import torch
from open_clip.tokenizer import HFTokenizer

from sgovss.config_rules import check_value
from sgovss.errors import InputError
from sgovss.modeling.clip_configuration import EMBEDDED_MODEL, OTHER_NAMES, model_configuration, reason
from sgovss.modeling.clip_settings import activation_of, is_file
from sgovss.modeling.clip_weights import compare, read_weights, resize_positions
from sgovss.modeling.known_weights import OPENAI, statistics_of_tag

ClipModel: TypeAlias = "open_clip.CLIP | open_clip.CustomTextCLIP"

Tokenizer = Callable[[list[str]], torch.Tensor]
"""Texts -> (N, context_length) int64."""


def create_model(name: str, activation: str = "auto", **changes: Any) -> ClipModel:
    """Build an open_clip model with random weights. Only the embedded model's text encoder has pretrained weights.

    Args:
        name: ``tiny`` or a model name of open_clip.
        activation: ``gelu``, ``quick_gelu``, or ``auto`` for the one in the model configuration.
        changes: keys of open_clip's model configuration to replace.

    Raises:
        InputError: there is no such model or activation, or the model cannot be built.
    """
    check_value("MODEL.CLIP.ACTIVATION", activation)
    configuration = {**model_configuration(name), **changes}
    if activation != "auto":
        configuration["quick_gelu"] = activation == "quick_gelu"
    custom_text = configuration.pop("custom_text", False) or "hf_model_name" in configuration["text_cfg"]
    kind = open_clip.CustomTextCLIP if custom_text else open_clip.CLIP
    with _told(name, configuration["text_cfg"]):
        if "hf_model_name" not in configuration["text_cfg"]:
            return kind(**configuration)
        with _quiet_transformers():
            return kind(**configuration)


def create_tokenizer(name: str) -> Tokenizer:
    """The tokenizer of a model.

    Args:
        name: ``tiny`` or a model name of open_clip.

    Raises:
        InputError: open_clip has no such model, or its tokenizer cannot be fetched.
    """
    text = model_configuration(name)["text_cfg"]
    with _told(name, text):
        if "hf_model_name" in text:
            return HFTokenizer(text["hf_model_name"], context_length=text.get("context_length", 77))
        return open_clip.get_tokenizer(name)


@contextlib.contextmanager
def _told(name: str, text: dict[str, Any]) -> Iterator[None]:
    """Make one line of what open_clip, timm and transformers raise while they build a part of a model."""
    try:
        yield
    except OSError as error:  # a file of transformers that is neither in the cache nor can be downloaded
        source = text.get("hf_model_name") or text.get("hf_tokenizer_name") or name
        raise InputError(
            f"MODEL.CLIP.NAME: '{name}' needs '{source}' of the Hugging Face hub, which cannot be fetched "
            f"({type(error).__name__}); build it once with network and copy that machine's ~/.cache/huggingface here, "
            "or use a model with a text encoder and a tokenizer of its own, such as ViT-B-16 or convnext_large_d_320"
        ) from error
    except Exception as error:
        raise InputError(f"MODEL.CLIP.NAME: '{name}' cannot be built ({reason(error)}); {OTHER_NAMES}") from error


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


def load_open_clip(name: str, weights: str, activation: str = "auto") -> ClipModel:
    """Build an open_clip model and load its weights; see :func:`sgovss.modeling.clip_models.load_clip`."""
    if weights == "embedded":
        raise InputError(
            f"MODEL.CLIP.WEIGHTS: 'embedded' belongs to MODEL.CLIP.NAME '{EMBEDDED_MODEL}', not '{name}'; give a file "
            "or a tag of open_clip, or change the name"
        )
    tag = None if weights == "random" or is_file(name, weights) else _find_tag(name, weights)
    model = create_model(name, activation_of(name, weights) if activation == "auto" else activation)
    if tag is not None:
        load_weights_file(model, Path(_download(name, weights, tag)))
    elif weights != "random":
        load_weights_file(model, Path(weights))
    return model


def load_weights_file(model: ClipModel, path: Path) -> None:
    """Load a file of CLIP weights into a CLIP model, in place. Positional embeddings of another size are resized.

    Raises:
        InputError: the file is missing or damaged, or belongs to another architecture.
    """
    try:
        state = read_weights(path, model).state
    except InputError as error:
        raise InputError(f"MODEL.CLIP.WEIGHTS: {error}") from error
    resize_positions(state, model)
    found = compare(state, model)
    if found.shapes or found.unknown:
        shown = "; ".join([*found.shapes[:2], *(f"{key} is not in it" for key in found.unknown[:2])])
        raise InputError(
            f"MODEL.CLIP.WEIGHTS: {path}: these weights belong to another architecture; set MODEL.CLIP.NAME to that "
            f"one ({shown})"
        )
    if found.missing:
        raise InputError(f"MODEL.CLIP.WEIGHTS: {found.incomplete(path)}")
    model.load_state_dict(state)


def _find_tag(name: str, tag: str) -> dict[str, Any]:
    found = open_clip.get_pretrained_cfg(name, tag)
    if not found:
        tags = open_clip.list_pretrained_tags_by_model(name)
        remedy = f"give one of them ({', '.join(tags)}), or the path" if tags else "it has none; give the path"
        raise InputError(
            f"MODEL.CLIP.WEIGHTS: '{tag}' is neither a file nor one of open_clip's tags for {name}; {remedy} of a file"
        )
    return found


def _download(name: str, tag: str, found: dict[str, Any]) -> str:
    try:
        return open_clip.download_pretrained(found)
    except Exception as error:  # there are many kinds of network errors
        raise InputError(
            f"MODEL.CLIP.WEIGHTS: cannot download '{tag}' for {name} ({type(error).__name__}); fetch {_source(found)} "
            f"on a machine with network and set {_settings(name, tag, found)}"
        ) from error


def _source(found: dict[str, Any]) -> str:
    """What to fetch for a tag of open_clip."""
    if not found.get("hf_hub"):
        return str(found.get("url"))
    repository, _, file = found["hf_hub"].rpartition("/")
    file = file or "open_clip_model.safetensors (or open_clip_pytorch_model.bin)"
    return f"{file} from the repository '{repository}' of the Hugging Face hub"


def _settings(name: str, tag: str, found: dict[str, Any]) -> str:
    """The keys to set for the file of a tag, whose name may not tell its activation and statistics."""
    settings = ["MODEL.CLIP.WEIGHTS to the file's path", f"MODEL.CLIP.ACTIVATION to {activation_of(name, tag)}"]
    statistics = statistics_of_tag(found)
    if statistics != OPENAI:
        mean, std = statistics.of_bytes()
        settings += [f"MODEL.PIXEL_MEAN to {mean}", f"MODEL.PIXEL_STD to {std}"]
    return f"{', '.join(settings[:-1])} and {settings[-1]}"
