"""Named sets of prompt templates; ``{}`` stands for a class name."""

from __future__ import annotations

from open_clip import OPENAI_IMAGENET_TEMPLATES

TEMPLATES: dict[str, tuple[str, ...]] = {
    # The prompt in the paper's figure 2.
    "paper": ("a RS photo of {}",),
    "plain": ("{}",),
    "single": ("a photo of a {} in the scene",),
    "remote_sensing": (
        "an aerial photo of {}",
        "a satellite image of {}",
        "a remote sensing photo of {}",
    ),
    "imagenet": tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES),
}
"""The values of MODEL.CLIP.TEMPLATES."""
