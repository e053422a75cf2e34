"""Model folders: a self-contained model as safetensors and YAML, without pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from detectron2.config import CfgNode
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from sgovss import paths
from sgovss.errors import InputError
from sgovss.files import atomic_path, sha256
from sgovss.hub import CONFIG, STAC_ITEM, WEIGHTS, local_path, read_config
from sgovss.modeling.clip_settings import is_file
from sgovss.modeling.embedded_clip import WEIGHTS as EMBEDDED_WEIGHTS
from sgovss.modeling.known_weights import weights_metadata


def write_model(model: nn.Module, cfg: CfgNode, folder: Path) -> None:
    """Write all weights, except the frozen encoder's, and the config.

    Args:
        model: in float32.
        cfg: its config, without paths of this machine.
        folder: it is created if needed; other files in it are kept.

    Raises:
        InputError: the folder cannot be written to.
    """
    with atomic_path(folder / WEIGHTS) as partial:
        tensors = {key: value.detach().cpu().contiguous().clone() for key, value in model.state_dict().items()}
        save_file(tensors, partial, metadata={"format": "pt"})
    with atomic_path(folder / CONFIG) as partial:
        partial.write_text(cfg.dump(), encoding="utf-8")


class BaseWeights(NamedTuple):
    """The CLIP weights that a model comes from.

    Attributes:
        name: a tag of open_clip, ``embedded``, or the name of a file.
        sha256: digest of the file; empty if there is none, or it is not here. Of the embedded image tower it is known
            only for a model that was not fine-tuned: a checkpoint may come from that of another version.
    """

    name: str
    sha256: str


def base_weights(model: str, name: str, clip: str) -> BaseWeights:
    """The CLIP weights that a model comes from.

    Args:
        model: MODEL.WEIGHTS.
        name, clip: MODEL.CLIP.NAME and MODEL.CLIP.WEIGHTS of its training.
    """
    if model and paths.is_folder(local_path(model)):
        made = stated_properties(model).get("mlm:hyperparameters")
        digest = made.get("base_weights_sha256") if isinstance(made, dict) else None
        return BaseWeights(clip, digest if isinstance(digest, str) else "")
    if not model and clip == "embedded":
        return BaseWeights(clip, sha256(EMBEDDED_WEIGHTS))
    if not is_file(name, clip):
        return BaseWeights(clip, "")
    path = Path(clip)
    stated = weights_metadata(path) if paths.is_file(path) else {}
    digest = stated.get("source_sha256") or (sha256(path) if paths.is_file(path) else "")
    return BaseWeights(stated.get("source", path.name), digest)


def stated_properties(model: str) -> dict[str, Any]:
    """The properties of the STAC item of a model folder.

    Args:
        model: MODEL.WEIGHTS.

    Returns:
        what the item states; empty if the weights are no model folder, or its item is absent or damaged.
    """
    if not model or not paths.is_folder(folder := local_path(model)):
        return {}
    try:
        stated = json.loads((folder / STAC_ITEM).read_text(encoding="utf-8"))["properties"]
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    return stated if isinstance(stated, dict) else {}


def read_model(folder: Path) -> dict[str, Any]:
    """Read what :func:`write_model` wrote.

    Returns:
        ``model`` (a state dict on the CPU) and ``config`` (YAML).

    Raises:
        InputError: a file is missing or damaged.
    """
    for name in (WEIGHTS, CONFIG):
        if not (folder / name).is_file():
            raise InputError(
                f"MODEL.WEIGHTS: {folder} has no {name}; give a checkpoint of 'sgovss train', or a folder that "
                "'sgovss export --format folder' wrote"
            )
    try:
        tensors: dict[str, torch.Tensor] = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise InputError(f"MODEL.WEIGHTS: {folder / WEIGHTS} is damaged ({error}); copy it again") from error
    return {"model": tensors, "config": read_config(folder)}
