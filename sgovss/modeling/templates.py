"""Named sets of prompt templates; `{}` stands for a class name."""

from __future__ import annotations

from open_clip import OPENAI_IMAGENET_TEMPLATES

from sgovss.errors import InputError

TEMPLATES: dict[str, tuple[str, ...]] = {
    # The prompt drawn in the paper's figure 2.
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


def template_set(name: str) -> tuple[str, ...]:
    """The templates of a named set.

    Raises:
        InputError: no set of this name.
    """
    if name not in TEMPLATES:
        raise InputError(f"MODEL.CLIP.TEMPLATES: no set '{name}'; use one of {', '.join(TEMPLATES)}")
    return TEMPLATES[name]
