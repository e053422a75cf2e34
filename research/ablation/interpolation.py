"""Interpolation between the weights of a fine-tuned image encoder and those of the frozen one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from sgovss.config import load_config
from sgovss.files import atomic_path
from sgovss.modeling.checkpoint import read_checkpoint
from sgovss.modeling.clip_models import load_clip
from sgovss.modeling.image_encoder import CLIPImageEncoder

_ENCODER = "image_encoder."


def interpolate_encoder(checkpoint: Path, config: str, options: Mapping[str, str], ratio: float, output: Path) -> None:
    """Write a checkpoint whose image encoder is ``frozen + ratio * (tuned - frozen)``; the head is not changed.

    Args:
        checkpoint: a training checkpoint.
        config, options: config and options that it was trained with; they name the CLIP weights.
        ratio: 0 gives the frozen encoder, 1 the tuned one.
        output: file to write.

    Raises:
        InputError: the checkpoint or the CLIP weights cannot be read.
    """
    cfg = load_config(config, [word for pair in options.items() for word in pair])
    clip = load_clip(cfg.MODEL.CLIP.NAME, cfg.MODEL.CLIP.WEIGHTS, cfg.MODEL.CLIP.ACTIVATION)
    frozen = CLIPImageEncoder(visual=clip.visual, tuning=cfg.MODEL.CLIP.TUNING).state_dict()
    content = read_checkpoint(checkpoint)
    for key, tuned in content["model"].items():
        if key.startswith(_ENCODER):
            content["model"][key] = frozen[key.removeprefix(_ENCODER)].lerp(tuned, ratio)
    with atomic_path(output) as temporary:
        torch.save(content, temporary)
