"""Models that can be used: the embedded one, those in the cache of the hub, and published CLIP weights.

What is said of a model is what its files or ``known_models.yaml`` state. What is called verified has a test.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from sgovss.hub import CONFIG, STAC_ITEM, WEIGHTS, cached_repositories
from sgovss.modeling.clip_configuration import EMBEDDED_MODEL
from sgovss.modeling.known_weights import KNOWN, find_known, known_families
from sgovss.yaml_text import load_yaml

UNKNOWN = "not stated"
_REMOTE_SENSING = ("RemoteCLIP", "GeoRSCLIP", "SkyCLIP")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Check(_Model):
    """Something that was verified.

    Attributes:
        what: it, in words.
        test: the test that verifies it, ``file::function``.
    """

    what: str
    test: str


class Architecture(_Model):
    """A CLIP model with a dense map.

    Attributes:
        parameters: millions, of both towers.
        stride: pixels per location of the dense map.
        checks: names of what was verified.
    """

    parameters: float
    stride: int
    checks: tuple[str, ...]


class Embedded(Architecture):
    """The embedded model; ``architecture`` are the names of its two towers."""

    architecture: str
    licence: str
    ground_sample_distance: float


class Known(_Model):
    """The content of ``known_models.yaml``."""

    checks: dict[str, Check]
    embedded: Embedded
    architectures: dict[str, Architecture]
    licences: dict[str, str]


class ListedModel(NamedTuple):
    """A model that can be used.

    Attributes:
        name: of the model.
        where: ``embedded``, ``cache`` or ``published``.
        architecture: open_clip's name of it.
        weights: values of MODEL.CLIP.WEIGHTS, or of MODEL.WEIGHTS for models of sgovss.
        licence: of the model.
        ground_sample_distance: metres per pixel of the training images; None if it is not stated.
        parameters: millions, of both towers; None if it is not known.
        megabytes: size on disk; None if it is not on disk.
        verified: names of what tests of sgovss verify, see :class:`Known`.
    """

    name: str
    where: str
    architecture: str
    weights: tuple[str, ...]
    licence: str
    ground_sample_distance: float | None
    parameters: float | None
    megabytes: float | None
    verified: tuple[str, ...]


@functools.cache
def known_models() -> Known:
    """The content of ``known_models.yaml``."""
    return Known.model_validate(load_yaml(KNOWN.with_name("known_models.yaml").read_text(encoding="utf-8")))


def list_models() -> list[ListedModel]:
    """The embedded model, the models in the cache of the hub, and published CLIP weights with a dense map."""
    return [_embedded(), *_cached(), *_remote_sensing(), *_tags()]


def _embedded() -> ListedModel:
    from sgovss.modeling.embedded_clip import WEIGHTS as FILE

    facts = known_models().embedded
    return ListedModel(
        name=EMBEDDED_MODEL,
        where="embedded",
        architecture=facts.architecture,
        weights=("embedded",),
        licence=facts.licence,
        ground_sample_distance=facts.ground_sample_distance,
        parameters=facts.parameters,
        megabytes=FILE.stat().st_size / 1e6,
        verified=facts.checks,
    )


def _cached() -> Iterator[ListedModel]:
    for repository, size, snapshot in cached_repositories():
        if (snapshot / WEIGHTS).is_file() and (snapshot / CONFIG).is_file():
            yield _of_folder(repository, size, snapshot)
            continue
        for file in sorted(snapshot.rglob("*")):
            known = find_known(file) if file.suffix in (".pt", ".pth", ".bin", ".safetensors") else None
            if known is not None:
                facts = known_models().architectures.get(known.model)
                parameters, verified = (facts.parameters, facts.checks) if facts else (None, ())
                size = file.stat().st_size
                yield ListedModel(
                    *(f"{repository}/{file.name}", "cache", known.model, (str(file),), UNKNOWN, None, parameters),
                    *(size / 1e6, verified),
                )  # fmt: skip


def _of_folder(repository: str, size: int, folder: Path) -> ListedModel:
    """A model of sgovss, as its STAC item describes it. No test of sgovss has seen it."""
    try:
        stated: Any = json.loads((folder / STAC_ITEM).read_text(encoding="utf-8"))["properties"]
    except (OSError, ValueError, LookupError, TypeError):
        stated = {}
    if not isinstance(stated, dict):
        stated = {}
    gsd = stated.get("gsd")
    return ListedModel(
        name=repository,
        where="cache",
        architecture=str(stated.get("mlm:architecture", UNKNOWN)),
        weights=(repository,),
        licence=str(stated.get("license", UNKNOWN)),
        ground_sample_distance=gsd if isinstance(gsd, int | float) else None,
        parameters=None,
        megabytes=size / 1e6,
        verified=(),
    )


def _remote_sensing() -> Iterator[ListedModel]:
    """Files of RemoteCLIP, GeoRSCLIP and SkyCLIP whose architecture has a dense map."""
    for family in _REMOTE_SENSING:
        for entry in known_families()[family].entries:
            facts = known_models().architectures.get(entry.model)
            if facts is not None:
                verified = (*facts.checks, "layout")
                licence = known_models().licences[family]
                yield ListedModel(
                    *(family, "published", entry.model, entry.files, licence, None, facts.parameters, None, verified)
                )


def _tags() -> Iterator[ListedModel]:
    """open_clip's tags of the architectures with a dense map."""
    import open_clip

    for name, facts in known_models().architectures.items():
        tags = tuple(open_clip.list_pretrained_tags_by_model(name))
        yield ListedModel(*("open_clip", "published", name, tags, UNKNOWN, None, facts.parameters, None, facts.checks))
