"""What is known of a CLIP weights file beyond its tensors: above all, the activation it was trained with."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter
from safetensors import SafetensorError, safe_open

KNOWN = Path(__file__).resolve().parent.parent / "assets" / "known_weights.yaml"

Activation = Literal["gelu", "quick_gelu"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KnownFile(_Model):
    """One published file, or several of one kind.

    Attributes:
        files: patterns for the end of its path.
        model: open_clip's name of its architecture.
        certainty: whether the authors say so or it is inferred.
        why: from what the activation is known.
    """

    files: tuple[str, ...]
    model: str
    activation: Activation
    certainty: Literal["stated", "inferred"]
    why: str


class KnownFamily(_Model):
    """The files of one publication; ``layout`` says how they hold the weights."""

    where: str
    layout: str
    entries: tuple[KnownFile, ...]


class StatedActivation(NamedTuple):
    """An activation and what says so, in a few words."""

    activation: Activation
    reason: str


@functools.cache
def known_families() -> dict[str, KnownFamily]:
    """All of ``known_weights.yaml``, by family."""
    return TypeAdapter(dict[str, KnownFamily]).validate_python(yaml.safe_load(KNOWN.read_text(encoding="utf-8")))


def find_known(path: Path) -> KnownFile | None:
    """What is known of a file by its name, and its folder's where that is needed."""
    entries = (entry for family in known_families().values() for entry in family.entries)
    return next((entry for entry in entries if any(path.match(pattern) for pattern in entry.files)), None)


def weights_metadata(path: Path) -> dict[str, str]:
    """What a safetensors file says of itself; nothing for other files and for those that cannot be read."""
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError):  # whoever loads the weights reports it
        return {}


def stated_activation(path: Path) -> StatedActivation | None:
    """The activation that a weights file states in its metadata, or that a file of its name is known for."""
    metadata = weights_metadata(path)
    if metadata.get("activation") in ("gelu", "quick_gelu"):
        return StatedActivation(metadata["activation"], metadata.get("activation_reason", "its metadata"))
    if known := find_known(path):
        return StatedActivation(known.activation, f"{known.certainty}: {known.why}")
    return None
