"""Named sets of prompt templates; ``{}`` stands for a class name."""

from __future__ import annotations

_OWN: dict[str, tuple[str, ...]] = {
    # The prompt in the paper's figure 2.
    "paper": ("a RS photo of {}",),
    "plain": ("{}",),
    "single": ("a photo of a {} in the scene",),
    "remote_sensing": (
        "an aerial photo of {}",
        "a satellite image of {}",
        "a remote sensing photo of {}",
    ),
}

NAMES = (*_OWN, "imagenet")
"""The values of MODEL.CLIP.TEMPLATES."""


def templates_of(name: str) -> tuple[str, ...]:
    """The templates of a set.

    Args:
        name: one of :data:`NAMES`; ``imagenet`` are those of open_clip.
    """
    if name != "imagenet":
        return _OWN[name]
    from open_clip import OPENAI_IMAGENET_TEMPLATES  # a second, for one set only

    return tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)
