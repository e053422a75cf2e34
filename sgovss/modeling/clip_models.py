"""CLIP models with their weights: the embedded one, or one of open_clip, which is imported only then."""

from __future__ import annotations

from torch import nn

from sgovss.config_rules import check_value
from sgovss.modeling.clip_configuration import EMBEDDED_MODEL
from sgovss.modeling.embedded_clip import EmbeddedClip


def load_clip(name: str, weights: str, activation: str = "auto") -> nn.Module:
    """Build a CLIP model and load its weights.

    Args:
        name: ``tiny`` or a model name of open_clip.
        weights: ``embedded`` (of the tiny model), ``random`` (for tests and benchmarks), a pretrained tag of open_clip,
            or the path of a file in one of the layouts of :mod:`sgovss.modeling.clip_layouts`.
        activation: ``gelu``, ``quick_gelu``, or ``auto`` for the one that :func:`activation_of` finds.

    Returns:
        A module with the image tower ``visual`` and a method ``encode_text``: tokens (N, context length) and whether to
        normalise -> embeddings (N, D). It is an open_clip model unless it is the embedded one.

    Raises:
        InputError: there is no such model, tag, file or activation, the activation is not known, or the file is damaged
            or belongs to another architecture.
    """
    check_value("MODEL.CLIP.ACTIVATION", activation)
    if name == EMBEDDED_MODEL and weights in ("embedded", "random"):
        return EmbeddedClip(pretrained=weights == "embedded")
    from sgovss.modeling.open_clip_models import load_open_clip

    return load_open_clip(name, weights, activation)
