"""Checkpoint files: reading them, and loading their weights into a model."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
import yaml
from detectron2.config import CfgNode
from torch import nn

from sgovss.config import config_from_dump
from sgovss.errors import InputError
from sgovss.fingerprint import fingerprint

TRAINING = "training"
INFERENCE = "inference"


class DamagedCheckpointError(Exception):
    """A file that cannot be read as torch wrote it; says what it is, without its name.

    Args:
        what: follows the file's name and "is".
        cure: what to do about it.
    """

    def __init__(self, what: str, cure: str = "copy it again") -> None:
        super().__init__(what)
        self.cure = cure


def base_fingerprint(model: nn.Module) -> str:
    """SHA-256 of the CLIP weights in the model, image and text encoder."""
    return fingerprint(model.image_encoder, model.text_embedder)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of sgovss, tensors and plain values only.

    Raises:
        InputError: no such file, a damaged one, or a file of something else.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"MODEL.WEIGHTS: no file {path}; give a checkpoint written by 'sgovss train'")
    try:
        content = read_file(path)
    except DamagedCheckpointError as error:
        raise InputError(f"MODEL.WEIGHTS: {path} is {error}; {error.cure}") from error
    known = isinstance(content, dict) and content.get("kind") in (TRAINING, INFERENCE)
    if not known or not {"model", "config"} <= content.keys():
        raise InputError(f"MODEL.WEIGHTS: {path} is no checkpoint of sgovss; CLIP weights go to MODEL.CLIP.WEIGHTS")
    return content


def expect_own_weights(cfg: CfgNode, content: dict[str, Any]) -> None:
    """Have the model built without CLIP's weights, in place, if a checkpoint holds all weights itself.

    Args:
        content: a checkpoint, as :func:`read_checkpoint` returns it.
    """
    if content["kind"] == INFERENCE:
        cfg.MODEL.CLIP.WEIGHTS = "random"
        cfg.MODEL.CLIP.ACTIVATION = yaml.safe_load(content["config"])["MODEL"]["CLIP"]["ACTIVATION"]


def load_weights(model: nn.Module, content: dict[str, Any], path: str | Path) -> None:
    """Load a checkpoint of either kind into a model as built from its config, in place.

    Args:
        content: a checkpoint, as :func:`read_checkpoint` returns it.
        path: where it came from, for messages.

    Raises:
        InputError: as :func:`apply_weights`.
    """
    apply_weights(model, content, path, base_fingerprint(model) if content["kind"] == TRAINING else "")


def apply_weights(model: nn.Module, content: dict[str, Any], path: str | Path, base: str) -> None:
    """Load a checkpoint's weights into a model, all of them or none.

    Args:
        model: as built from a config.
        content: a checkpoint, as :func:`read_checkpoint` returns it.
        path: where it came from, for messages.
        base: fingerprint of the base weights the model was built with.

    Raises:
        InputError: tensors are missing, left over or of another shape, or the base weights differ.
    """
    expected = {key: value.shape for key, value in model.state_dict().items()}
    if content["kind"] == TRAINING:
        trained = {key for key, value in model.named_parameters() if value.requires_grad}
        expected = {key: shape for key, shape in expected.items() if key in trained}
    problem = _difference(expected, {key: value.shape for key, value in content["model"].items()})
    if problem:
        raise InputError(f"MODEL.WEIGHTS: {path} belongs to another architecture or config: {problem}")
    if content["kind"] == TRAINING and content["base_weights"]["sha256"] != base:
        raise InputError(
            f"MODEL.CLIP.WEIGHTS: {path} was trained from '{content['base_weights']['name']}' "
            f"(SHA-256 {content['base_weights']['sha256'][:12]}…), but the weights given now differ ({base[:12]}…)"
        )
    model.load_state_dict(content["model"], strict=False)


def _difference(expected: dict[str, torch.Size], found: dict[str, torch.Size]) -> str:
    """What keeps two sets of tensors from matching, on one line; empty if nothing."""
    missing = sorted(expected.keys() - found.keys())
    extra = sorted(found.keys() - expected.keys())
    shapes = [
        f"{key} is {tuple(found[key])}, not {tuple(expected[key])}"
        for key in expected
        if key in found and found[key] != expected[key]
    ]
    parts = [
        f"{len(keys)} tensors {what} ({', '.join(keys[:3])}{', …' if len(keys) > 3 else ''})"
        for what, keys in (("missing", missing), ("left over", extra), ("of another shape", shapes))
        if keys
    ]
    return "; ".join(parts)


def read_file(path: Path) -> Any:
    """What torch saved, tensors and plain values only.

    Raises:
        DamagedCheckpointError: there is no such file, or one of its checksums is wrong.
    """
    try:
        # torch.save writes a checksum of every record, which torch.load does not look at.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged:
            raise DamagedCheckpointError(f"damaged (wrong checksum of {damaged})")
        return torch.load(path, map_location="cpu", weights_only=True)
    except DamagedCheckpointError:
        raise
    except pickle.UnpicklingError as error:
        raise DamagedCheckpointError(
            "damaged, or holds more than tensors and plain values, which could run any program when read and is not",
            "copy it again, or train anew",
        ) from error
    # Damaged bytes, read as lengths, names and opcodes, raise nearly anything.
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise DamagedCheckpointError(f"damaged or cut short ({reason})") from error


def config_of(checkpoint: str | Path) -> CfgNode:
    """The config that a checkpoint carries, for the devices of this machine.

    Raises:
        InputError: the file is missing, damaged or something else.
    """
    return config_from_dump(read_checkpoint(checkpoint)["config"], checkpoint)
