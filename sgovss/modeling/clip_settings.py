"""Settings that belong to CLIP weights: their activation, and the pixel statistics they were trained with."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.utils.logger import log_first_n

from sgovss import paths
from sgovss.errors import InputError
from sgovss.modeling.clip_configuration import EMBEDDED_MODEL, embedded_configuration, model_configuration
from sgovss.modeling.known_weights import (
    OPENAI,
    Activation,
    StatedActivation,
    Statistics,
    stated_activation,
    stated_statistics,
    statistics_of_tag,
)
from sgovss.modeling.weights_file import read_content

_TOLERANCE = 0.1
"""Difference of pixel statistics, for pixels from 0 to 255, that comes from rounding."""

_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".json")


_NO_TAGS = ("embedded", "random")
"""Values of MODEL.CLIP.WEIGHTS that are neither a file nor a tag."""


def _tag(name: str, weights: str) -> dict[str, Any]:
    """What open_clip states about one of its pretrained tags; empty if it is none."""
    if weights in _NO_TAGS:
        return {}
    import open_clip

    return open_clip.get_pretrained_cfg(name, weights)


def is_file(name: str, weights: str) -> bool:
    """Whether MODEL.CLIP.WEIGHTS names a file or folder, existing or not, instead of a tag of open_clip."""
    if weights in _NO_TAGS or _tag(name, weights):
        return False
    return paths.exists(weights) or weights.lower().endswith(_SUFFIXES)


def find_activation(name: str, path: Path) -> StatedActivation | None:
    """The activation that the weights in a file were trained with; None if it is not known.

    Args:
        name: ``tiny`` or a model name of open_clip.
        path: the file.

    Raises:
        InputError: there is no such model.
    """
    if stated := stated_activation(path):
        return stated
    configuration = model_configuration(name)
    if configuration.get("quick_gelu"):
        return StatedActivation("quick_gelu", f"open_clip's configuration of {name}")
    if "timm_model_name" in configuration["vision_cfg"]:
        # The activation only matters in the text tower. All published weights of these models have it as configured.
        return StatedActivation("gelu", f"open_clip's configuration of {name}, as in all its published weights")
    return None


def activation_of(name: str, weights: str) -> Activation:
    """The activation that weights were trained with.

    It is known for the pretrained tags of open_clip, files of ``sgovss convert``, archives of OpenAI, published files
    with their original names or in a folder with the name of their repository, files beside their config, and models
    whose configuration leaves no choice.

    Args:
        name, weights: as :func:`sgovss.modeling.clip_models.load_clip` takes them.

    Raises:
        InputError: it is not known, and the file may be missing or damaged; or there is no such model.
    """
    if not is_file(name, weights):
        return _configured_activation(name, weights)
    if found := find_activation(name, Path(weights)):
        return found.activation
    try:
        read_content(Path(weights))  # that the file is missing or damaged is told first
    except InputError as error:
        raise InputError(f"MODEL.CLIP.WEIGHTS: {error}") from error
    raise InputError(
        f"MODEL.CLIP.ACTIVATION: 'auto', but the activation of {Path(weights).name} is not known; set quick_gelu if "
        "its weights come from OpenAI's, gelu if from LAION's or trained from scratch; or write it into the file with "
        "'sgovss convert --activation' (tools/convert_weights.py)"
    )


def _configured_activation(name: str, weights: str) -> Activation:
    """The activation of a tag of open_clip; for other weights, of the model configuration."""
    tag = _tag(name, weights)
    return "quick_gelu" if tag.get("quick_gelu", model_configuration(name).get("quick_gelu")) else "gelu"


def find_statistics(name: str, weights: str) -> Statistics | None:
    """The pixel statistics that weights were trained with; None if they are not known.

    Args:
        name, weights: as :func:`sgovss.modeling.clip_models.load_clip` takes them.
    """
    if is_file(name, weights):
        return stated_statistics(Path(weights)) or _usual_statistics(name)
    if name == EMBEDDED_MODEL:
        return _usual_statistics(name)
    tag = _tag(name, weights)
    return statistics_of_tag(tag) if tag else None


def _usual_statistics(name: str) -> Statistics | None:
    """The pixel statistics of the embedded model, or of all tags of a model if they are the same."""
    if name == EMBEDDED_MODEL:
        stated = embedded_configuration()["preprocess_cfg"]
        return Statistics(tuple(stated["mean"]), tuple(stated["std"]))
    import open_clip

    tags = (open_clip.get_pretrained_cfg(name, tag) for tag in open_clip.list_pretrained_tags_by_model(name))
    found = {statistics_of_tag(tag) for tag in tags}
    return found.pop() if len(found) == 1 else None


def pixel_statistics(cfg: CfgNode) -> tuple[list[float], list[float]]:
    """MODEL.PIXEL_MEAN and MODEL.PIXEL_STD; where they are empty, those of the CLIP weights.

    They are OpenAI's if the weights' own are not known. Logs a warning, once, if the config has other ones. It does not
    if the config names a checkpoint: the statistics of the checkpoint's training count then, see :func:`keep_trained`.

    Returns:
        three numbers each, for red, green and blue from 0 to 255.
    """
    clip = cfg.MODEL.CLIP
    known = find_statistics(clip.NAME, clip.WEIGHTS)
    own = (known or OPENAI).of_bytes()
    used = (list(cfg.MODEL.PIXEL_MEAN) or own[0], list(cfg.MODEL.PIXEL_STD) or own[1])
    if known and clip.WEIGHTS != "random" and not cfg.MODEL.WEIGHTS and _differ(used, own):
        message = (
            f"MODEL.PIXEL_MEAN {used[0]} and PIXEL_STD {used[1]} are not those that '{clip.WEIGHTS}' of {clip.NAME} "
            f"was trained with, {own[0]} and {own[1]}; leave both keys out to use these"
        )
        log_first_n(logging.WARNING, message, name=__name__, key="message")
    return used


def _differ(one: tuple[list[float], list[float]], other: tuple[list[float], list[float]]) -> bool:
    pairs = zip(itertools.chain(*one), itertools.chain(*other), strict=True)
    return any(abs(first - second) > _TOLERANCE for first, second in pairs)


def resolve_clip(cfg: CfgNode) -> None:
    """Set MODEL.CLIP.ACTIVATION 'auto' and empty MODEL.PIXEL_MEAN and PIXEL_STD to the values of the weights, in place.

    A checkpoint stores them, because the source of the weights may be missing where the checkpoint is read.

    Raises:
        InputError: see :func:`activation_of`.
    """
    if cfg.MODEL.CLIP.ACTIVATION == "auto":
        cfg.MODEL.CLIP.ACTIVATION = activation_of(cfg.MODEL.CLIP.NAME, cfg.MODEL.CLIP.WEIGHTS)
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = pixel_statistics(cfg)


def keep_trained(cfg: CfgNode, saved: dict[str, Any]) -> None:
    """Take the settings that a checkpoint was trained with, where the config leaves them open, in place.

    Args:
        cfg: the config.
        saved: MODEL of the checkpoint's config.

    Raises:
        InputError: the config has another activation than the checkpoint.
    """
    trained = trained_activation(saved["CLIP"])
    if cfg.MODEL.CLIP.ACTIVATION not in ("auto", trained):
        raise InputError(
            f"MODEL.CLIP.ACTIVATION: {cfg.MODEL.CLIP.ACTIVATION}, but the checkpoint was trained with {trained}; set "
            f"{trained} or auto"
        )
    cfg.MODEL.CLIP.ACTIVATION = trained
    for key in ("PIXEL_MEAN", "PIXEL_STD"):
        cfg.MODEL[key] = list(cfg.MODEL[key]) or list(saved.get(key, []))


def trained_activation(saved: dict[str, Any]) -> Activation:
    """The activation that a checkpoint was trained with.

    Args:
        saved: MODEL.CLIP of its config. Versions before this one left ACTIVATION at ``auto`` for weights of unknown
            origin, and then used that of the model configuration.
    """
    stored = saved.get("ACTIVATION", "auto")
    return _configured_activation(saved["NAME"], saved["WEIGHTS"]) if stored == "auto" else stored
