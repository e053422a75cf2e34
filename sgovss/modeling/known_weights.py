"""What is known of published CLIP weights files beside their tensors: architecture, activation, pixel statistics."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, TypeAdapter
from safetensors import SafetensorError, safe_open

from sgovss import paths
from sgovss.modeling.weights_file import Format, file_format
from sgovss.yaml_text import load_yaml

KNOWN = Path(__file__).resolve().parent.parent / "assets" / "known_weights.yaml"

Activation = Literal["gelu", "quick_gelu"]
Colour = tuple[float, float, float]
"""A value for red, green and blue."""


class Statistics(NamedTuple):
    """Mean and standard deviation that images were normalised with, for pixels from 0 to 1."""

    mean: Colour
    std: Colour

    def of_bytes(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation for pixels from 0 to 255, with four decimals."""
        mean, std = ([round(255 * value, 4) for value in values] for values in self)
        return mean, std


OPENAI = Statistics((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


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
        statistics: pixel statistics that the weights were trained with.
    """

    files: tuple[str, ...]
    model: str
    activation: Activation
    certainty: Literal["stated", "inferred"]
    why: str
    statistics: Statistics = OPENAI


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
    return TypeAdapter(dict[str, KnownFamily]).validate_python(load_yaml(KNOWN.read_text(encoding="utf-8")))


def find_known(path: Path) -> KnownFile | None:
    """What is known of a file by its name or the end of its path; None if nothing is.

    The sources are ``known_weights.yaml``, and open_clip's list of pretrained tags for files in a folder with the name
    of a tag's repository, or with the name of a tag's download.
    """
    entries = (entry for family in known_families().values() for entry in family.entries)
    return next((entry for entry in entries if any(path.match(pattern) for pattern in entry.files)), _tagged(path))


def _tagged(path: Path) -> KnownFile | None:
    folders = [folder.name for folder in path.absolute().parents[:3]]
    # In the cache of the Hugging Face hub: models--<owner>--<repository>/snapshots/<commit>/<file>.
    cached = [name.rpartition("--")[2] for name in folders[2:] if name.startswith("models--")]
    found = next((name for name in (path.name, *folders[:1], *cached) if name in _tags()), None)
    if found is None:
        return None
    import open_clip

    model, tag = _tags()[found]
    facts = open_clip.get_pretrained_cfg(model, tag)
    return KnownFile(
        files=(found,),
        model=model,
        activation="quick_gelu" if facts.get("quick_gelu") else "gelu",
        certainty="stated",
        why=f"open_clip's tag {tag} of {model}",
        statistics=statistics_of_tag(facts),
    )


@functools.cache
def _tags() -> dict[str, tuple[str, str]]:
    """Model and tag by the name of their repository and, if it is distinctive, of their download."""
    import open_clip

    found: dict[str, tuple[str, str]] = {}
    for model, tag in open_clip.list_pretrained():
        facts = open_clip.get_pretrained_cfg(model, tag)
        names = facts.get("hf_hub", "").split("/")[1:2]
        if "openaipublic" not in facts.get("url", ""):  # OpenAI's files are called like the architecture
            names.append(facts.get("url", "").rpartition("/")[2])
        for name in filter(None, names):
            found.setdefault(name, (model, tag))
    return found


def statistics_of_tag(facts: dict[str, Any]) -> Statistics:
    """The pixel statistics of an entry of open_clip's pretrained tags; OpenAI's if it has none."""
    return Statistics(tuple(facts.get("mean", OPENAI.mean)), tuple(facts.get("std", OPENAI.std)))


def weights_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file; empty for other files and files that cannot be read."""
    try:
        if file_format(path) is not Format.SAFETENSORS:
            return {}
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError):  # loading the weights raises it again, with a message
        return {}


def stated_activation(path: Path) -> StatedActivation | None:
    """The activation of a weights file, by its content, its name or the files beside it; None if nothing states it."""
    metadata = weights_metadata(path)
    for activation in get_args(Activation):
        if metadata.get("activation") == activation:
            return StatedActivation(activation, metadata.get("activation_reason", "its metadata"))
    if paths.is_file(path) and file_format(path) is Format.TORCHSCRIPT:
        return StatedActivation("quick_gelu", "OpenAI's own archives use it")
    if known := find_known(path):
        return StatedActivation(known.activation, f"{known.certainty}: {known.why}")
    return _activation_beside(path)


def _activation_beside(path: Path) -> StatedActivation | None:
    """The activation in the config of open_clip or transformers in a file's folder."""
    config = _json(path.with_name("open_clip_config.json")).get("model_cfg")
    if isinstance(config, dict):
        return StatedActivation("quick_gelu" if config.get("quick_gelu") else "gelu", "open_clip_config.json beside it")
    config = _json(path.with_name("config.json"))
    towers = [config.get(tower) for tower in ("vision_config", "text_config")]
    if config.get("model_type") != "clip" or not all(isinstance(tower, dict) for tower in towers):
        return None
    found = {tower.get("hidden_act", "quick_gelu") for tower in towers if isinstance(tower, dict)}
    named = found.pop() if len(found) == 1 else ""
    return next(
        (StatedActivation(one, "hidden_act of config.json") for one in get_args(Activation) if one == named), None
    )


def stated_statistics(path: Path) -> Statistics | None:
    """The pixel statistics of a weights file, by its metadata, its name or the files beside it; None if nothing is."""
    metadata = weights_metadata(path)
    if found := _statistics(_loads(metadata.get("mean")), _loads(metadata.get("std"))):
        return found
    if known := find_known(path):
        return known.statistics
    beside = _json(path.with_name("open_clip_config.json")).get("preprocess_cfg")
    if isinstance(beside, dict) and (found := _statistics(beside.get("mean"), beside.get("std"))):
        return found
    beside = _json(path.with_name("preprocessor_config.json"))
    return _statistics(beside.get("image_mean"), beside.get("image_std"))


def _statistics(mean: Any, std: Any) -> Statistics | None:
    """Statistics of values read from a file; None if they are not three numbers each, above 0 for the deviation."""
    for values in (mean, std):
        if not isinstance(values, list) or len(values) != 3 or not all(isinstance(x, int | float) for x in values):
            return None
    return Statistics(tuple(mean), tuple(std)) if min(std) > 0 else None


def _json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if there is no such file, or something else in it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _loads(text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except ValueError:
        return None
