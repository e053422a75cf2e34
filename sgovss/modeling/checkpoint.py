"""Reading of checkpoint files, and loading of their weights into a model."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from torch import nn

from sgovss import paths
from sgovss.config import config_from_dump, warn_of_removed_keys
from sgovss.errors import InputError
from sgovss.fingerprint import activations, difference, fingerprint
from sgovss.hub import local_path
from sgovss.modeling.clip_settings import keep_trained, trained_activation
from sgovss.modeling.model_folder import read_model
from sgovss.modeling.text_embedder import TextEmbedder
from sgovss.modeling.weights_file import Format, file_format, refuse_non_finite, remedy_for
from sgovss.yaml_text import load_yaml

TRAINING = "training"
INFERENCE = "inference"

_REFINED = "head.refinement.visual."  # followed by the feature map
_OTHER_WEIGHTS = "set MODEL.CLIP.WEIGHTS for CLIP weights"


class DamagedCheckpointError(Exception):
    """A file that torch cannot read.

    Args:
        what: the problem, worded to follow the file's name and "is".
        remedy: how to solve it.
    """

    def __init__(self, what: str, remedy: str = "copy it again") -> None:
        super().__init__(what)
        self.remedy = remedy


def base_fingerprint(model: nn.Module) -> str:
    """The fingerprint of the CLIP weights and activations in a model (image and text encoder)."""
    text = model.get_submodule("text_embedder")
    if isinstance(text, TextEmbedder):
        text.build()  # activations are those of built modules
    return fingerprint(model.get_submodule("image_encoder"), text)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of sgovss, or a model folder; only tensors and plain values are unpickled.

    Args:
        path: a file of ``sgovss train``, a folder of :func:`sgovss.modeling.model_folder.write_model`, or a model of
            the hub, see :func:`sgovss.hub.parse_id`.

    Returns:
        ``kind`` (:data:`TRAINING` or :data:`INFERENCE`), ``model`` (a state dict), ``config`` (YAML), and for training
        the state of the trainer.

    Raises:
        InputError: the file is missing or damaged, or is not a checkpoint of sgovss.
    """
    try:
        path = local_path(path)
    except InputError as error:
        raise InputError(f"MODEL.WEIGHTS: {error}") from error
    if paths.is_folder(path):
        return {"kind": INFERENCE, **read_model(path)}
    if not paths.is_file(path):
        raise InputError(
            f"MODEL.WEIGHTS: no file or folder {path}; give a checkpoint of 'sgovss train', a "
            "model folder, or a model of the hub (owner/name)"
        )
    kind = file_format(path)
    if kind not in (Format.TORCH, Format.UNKNOWN):
        remedy = remedy_for(kind) or _OTHER_WEIGHTS
        raise InputError(f"MODEL.WEIGHTS: {path} is {kind.value}, not a checkpoint of sgovss; {remedy}")
    try:
        content = read_file(path)
    except DamagedCheckpointError as error:
        raise InputError(f"MODEL.WEIGHTS: {path} is {error}; {error.remedy}") from error
    known = isinstance(content, dict) and content.get("kind") in (TRAINING, INFERENCE)
    if not known or not {"model", "config"} <= content.keys():
        raise InputError(f"MODEL.WEIGHTS: {path} is not a checkpoint of sgovss; {_OTHER_WEIGHTS}")
    return content


def is_checkpoint(path: Path) -> bool:
    """Whether a path is a checkpoint of sgovss or a model folder that can be read."""
    try:
        read_checkpoint(path)
    except InputError:
        return False
    return True


def expect_own_weights(cfg: CfgNode, content: dict[str, Any]) -> None:
    """If a checkpoint has all weights, change the config so that the model is built without loading CLIP's weights.

    Settings of the CLIP weights that the config leaves open are taken from the checkpoint; see :func:`keep_trained`.

    Args:
        cfg: changed in place.
        content: a checkpoint, as :func:`read_checkpoint` returns it.
    """
    if content["kind"] == INFERENCE:
        cfg.MODEL.CLIP.WEIGHTS = "random"
    keep_trained(cfg, load_yaml(content["config"])["MODEL"])


def load_weights(model: nn.Module, content: dict[str, Any], path: str | Path) -> None:
    """Load a checkpoint of either kind into a model, in place.

    Args:
        model: the model of the checkpoint's config, with its initial weights.
        content: a checkpoint, as :func:`read_checkpoint` returns it.
        path: the checkpoint's file, for messages.

    Raises:
        InputError: see :func:`apply_weights`.
    """
    apply_weights(model, content, path, base_fingerprint(model) if content["kind"] == TRAINING else "")


def apply_weights(model: nn.Module, content: dict[str, Any], path: str | Path, base: str) -> None:
    """Load a checkpoint's weights into a model, in place, after checking that all of them fit.

    Args:
        model: the model of the checkpoint's config.
        content: a checkpoint, as :func:`read_checkpoint` returns it.
        path: the checkpoint's file, for messages.
        base: :func:`base_fingerprint` of the model with its initial weights; only used for kind :data:`TRAINING`.

    Raises:
        InputError: tensors are missing, unknown or of another shape, hold NaN or Inf, or the base weights differ.
    """
    warn_of_removed_keys(content.get("config", ""), path)
    expected = {key: value.shape for key, value in model.state_dict().items()}
    if content["kind"] == TRAINING:
        trained = {key for key, value in model.named_parameters() if value.requires_grad}
        expected = {key: shape for key, shape in expected.items() if key in trained}
    unread = unread_tensors(model, content)
    state = {key: value for key, value in content["model"].items() if key not in unread}
    problem = _difference(expected, {key: value.shape for key, value in state.items()})
    if problem:
        raise InputError(
            f"MODEL.WEIGHTS: {path} belongs to another architecture or config: {problem}; give the config "
            "of its training"
        )
    refuse_non_finite(state, f"MODEL.WEIGHTS: {path}")
    if content["kind"] == TRAINING:
        _check_base(content["base_weights"], base, path)
    _check_activation(model, content, path)
    model.load_state_dict(state, strict=False)


def unread_tensors(model: nn.Module, content: dict[str, Any]) -> set[str]:
    """Names of a checkpoint's tensors that never had an effect.

    Older versions refined every feature map. Now those that neither the cost map nor the decoder reads are not refined,
    such as res3 without visual guidance. If the decoder reads them, it has tensors for that, which a model without
    visual guidance does not have.

    Args:
        model: the model that the weights are loaded into.
        content: a checkpoint, as :func:`read_checkpoint` returns it.
    """
    own = {key.split(".")[3] for key in model.state_dict() if key.startswith(_REFINED)}
    return {key for key in content["model"] if own and key.startswith(_REFINED) and key.split(".")[3] not in own}


def _check_base(trained: dict[str, str], base: str, path: str | Path) -> None:
    """Check that the base weights and their activation are those that a checkpoint was trained from."""
    differs = difference(base, trained["sha256"])
    if differs == "weights":
        raise InputError(
            f"MODEL.CLIP.WEIGHTS: {path} was trained from '{trained['name']}' "
            f"(SHA-256 {trained['sha256'][:12]}…), but the weights given now differ ({base[:12]}…); give "
            "those of the training"
        )
    if differs == "activation":
        raise InputError(
            f"MODEL.CLIP.ACTIVATION: {path} was trained with {trained['sha256'].partition('/')[2]}, but the model now "
            f"has {base.partition('/')[2]}; set the activation of the training"
        )


def _check_activation(model: nn.Module, content: dict[str, Any], path: str | Path) -> None:
    """Check a model's activation against the config in a checkpoint; those of older versions have it only there."""
    if "config" not in content:
        return
    trained = trained_activation(load_yaml(content["config"])["MODEL"]["CLIP"])
    other = {"gelu": "QuickGELU()", "quick_gelu": "GELU(approximate='none')"}[trained]
    if other in activations(model.get_submodule("text_embedder")):  # some image encoders have GELU beside QuickGELU
        raise InputError(
            f"MODEL.CLIP.ACTIVATION: {path} was trained with {trained}, but the model now has {other}; set {trained}"
        )


def _difference(expected: dict[str, torch.Size], found: dict[str, torch.Size]) -> str:
    """The differences between two sets of tensors on one line; empty if there are none."""
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
    """Read a file of ``torch.save``; only tensors and plain values are unpickled.

    Raises:
        DamagedCheckpointError: the file is missing, damaged or holds other objects.
    """
    try:
        # torch.save writes a checksum of every record, but torch.load does not check it.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged:
            raise DamagedCheckpointError(f"damaged (wrong checksum of {damaged})")
        return torch.load(path, map_location="cpu", weights_only=True)
    except DamagedCheckpointError:
        raise
    except pickle.UnpicklingError as error:
        raise DamagedCheckpointError(
            "damaged, or holds more than tensors and plain values, which is not read because it can run code",
            "copy it again, or train again; for CLIP weights, set MODEL.CLIP.WEIGHTS",
        ) from error
    except Exception as error:  # a damaged file can raise many kinds of errors
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise DamagedCheckpointError(f"damaged or cut short ({reason})") from error


def config_of(checkpoint: str | Path) -> CfgNode:
    """The config in a checkpoint, with MODEL.DEVICE set for this machine.

    Raises:
        InputError: see :func:`read_checkpoint`.
    """
    return config_from_dump(read_checkpoint(checkpoint)["config"], checkpoint)


def portable_config(cfg: CfgNode) -> CfgNode:
    """The config to store beside the weights of a model, without MODEL.WEIGHTS and the output folder."""
    cfg = cfg.clone()
    if cfg.MODEL.WEIGHTS and cfg.MODEL.CLIP.WEIGHTS == "random":
        # The weights that the training started from; the checkpoint itself needs none.
        cfg.MODEL.CLIP.WEIGHTS = config_of(cfg.MODEL.WEIGHTS).MODEL.CLIP.WEIGHTS
    cfg.MODEL.WEIGHTS = ""
    cfg.OUTPUT_DIR = "output"
    return cfg
