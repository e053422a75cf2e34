"""Metadata of published CLIP weights files, such as the activation that they were trained with."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter
from safetensors import SafetensorError, safe_open

KNOWN = Path(__file__).resolve().parent.parent / "assets" / "known_weights.yaml"

Activation = Literal["gelu", "quick_gelu"]
_ACTIVATIONS: tuple[Activation, ...] = ("gelu", "quick_gelu")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KnownFile(_Model):
    """One published file, or several with the same entry.

    Attributes:
        files: patterns for the end of the path.
        model: open_clip's name of the architecture.
        activation: activation that the weights were trained with.
        certainty: whether the authors state the activation or it is inferred.
        why: source of the activation.
    """

    files: tuple[str, ...]
    model: str
    activation: Activation
    certainty: Literal["stated", "inferred"]
    why: str


class KnownFamily(_Model):
    """The files of one publication.

    Attributes:
        where: address of the files.
        layout: their format.
        entries: the files.
    """

    where: str
    layout: str
    entries: tuple[KnownFile, ...]


class StatedActivation(NamedTuple):
    """An activation and the source that states it."""

    activation: Activation
    reason: str


@functools.cache
def known_families() -> dict[str, KnownFamily]:
    """The content of ``known_weights.yaml``, by family."""
    return TypeAdapter(dict[str, KnownFamily]).validate_python(yaml.safe_load(KNOWN.read_text(encoding="utf-8")))


def find_known(path: Path) -> KnownFile | None:
    """The entry of a file in ``known_weights.yaml``, by its name or the end of its path; None if there is none."""
    entries = (entry for family in known_families().values() for entry in family.entries)
    return next((entry for entry in entries if any(path.match(pattern) for pattern in entry.files)), None)


def weights_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file; empty for other files and files that cannot be read."""
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError):  # loading the weights raises it again, with a message
        return {}


def stated_activation(path: Path) -> StatedActivation | None:
    """The activation in the metadata of a weights file or in ``known_weights.yaml``; None if it is in neither."""
    metadata = weights_metadata(path)
    for activation in _ACTIVATIONS:
        if metadata.get("activation") == activation:
            return StatedActivation(activation, metadata.get("activation_reason", "its metadata"))
    if known := find_known(path):
        return StatedActivation(known.activation, f"{known.certainty}: {known.why}")
    return None
