"""Model folders: a self-contained model as safetensors and YAML, without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from sgovss.errors import InputError
from sgovss.files import atomic_path
from sgovss.hub import CONFIG, WEIGHTS, read_config


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
