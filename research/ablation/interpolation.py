"""The cheap cure for forgetting: a fine-tuned tower's weights, drawn back towards the frozen ones."""

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


def interpolate_tower(checkpoint: Path, config: str, options: Mapping[str, str], share: float, output: Path) -> None:
    """Write a checkpoint whose image encoder is ``frozen + share * (tuned - frozen)``; the head stays as trained.

    Args:
        checkpoint: a training checkpoint.
        config, options: what it was trained with; they name the CLIP weights.
        share: 0 for the frozen tower, 1 for the tuned one.
        output: where to write.

    Raises:
        InputError: the checkpoint or the CLIP weights cannot be read.
    """
    cfg = load_config(config, [word for pair in options.items() for word in pair])
    clip = load_clip(cfg.MODEL.CLIP.NAME, cfg.MODEL.CLIP.WEIGHTS, cfg.MODEL.CLIP.ACTIVATION)
    frozen = CLIPImageEncoder(visual=clip.visual, tuning=cfg.MODEL.CLIP.TUNING).state_dict()
    content = read_checkpoint(checkpoint)
    for key, tuned in content["model"].items():
        if key.startswith(_ENCODER):
            content["model"][key] = frozen[key.removeprefix(_ENCODER)].lerp(tuned, share)
    with atomic_path(output) as temporary:
        torch.save(content, temporary)
