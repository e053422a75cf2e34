"""Checkpoints: what training saves to go on, and what inference needs and nothing else."""

from __future__ import annotations

import logging
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from detectron2.config import CfgNode
from fvcore.common.checkpoint import Checkpointer
from torch import nn

from sgovss.errors import InputError
from sgovss.files import atomic_path
from sgovss.fingerprint import fingerprint

TRAINING = "training"
INFERENCE = "inference"

logger = logging.getLogger(__name__)


class DamagedCheckpointError(Exception):
    """A file that cannot be read as torch wrote it; says what it is, without its name.

    Args:
        what: follows the file's name and "is".
        cure: what to do about it.
    """

    def __init__(self, what: str, cure: str = "copy it again") -> None:
        super().__init__(what)
        self.cure = cure


class SGOVSSCheckpointer(Checkpointer):
    """Saves the trainable weights, the config and the hash of the base weights they belong to.

    The base weights (CLIP's) are not copied into every checkpoint: they come from
    MODEL.CLIP.WEIGHTS again, and the hash tells whether they are the same.

    Args:
        model: a model that still has its base weights.
        cfg: the config to save.
        checkpointables: further things with ``state_dict`` and ``load_state_dict``.
    """

    def __init__(self, model: nn.Module, cfg: CfgNode, **checkpointables: Any) -> None:
        super().__init__(model, cfg.OUTPUT_DIR, **checkpointables)
        self.cfg = cfg
        self.base = base_fingerprint(self.model)

    def save(self, name: str, **kwargs: Any) -> None:
        """Write ``OUTPUT_DIR/<name>.pth`` in one move: whole, or not at all."""
        if not self.save_to_disk:
            return
        trainable = {key for key, value in self.model.named_parameters() if value.requires_grad}
        content = {
            "kind": TRAINING,
            "model": {key: value for key, value in self.model.state_dict().items() if key in trainable},
            "config": self.cfg.dump(),
            "base_weights": {"name": self.cfg.MODEL.CLIP.WEIGHTS, "sha256": self.base},
            **{key: part.state_dict() for key, part in self.checkpointables.items()},
            **kwargs,
        }
        path = Path(self.save_dir) / f"{name}.pth"
        _write(content, path)
        self.tag_last_checkpoint(path.name)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        with atomic_path(Path(self.save_dir) / "last_checkpoint") as temporary:
            temporary.write_text(last_filename_basename, encoding="utf-8")

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """Load weights, and the state of ``checkpointables`` (None: of all there are).

        Raises:
            InputError: the file is missing, damaged, another architecture's or of other base weights.
        """
        return self._restore(read_checkpoint(path), path, checkpointables) if path else {}

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """Go on from the last checkpoint that is whole if there are any and ``resume`` is set, else load ``path``.

        Raises:
            InputError: as :meth:`load`, or no checkpoint to resume from is whole.
        """
        if not (resume and self.has_checkpoint()):
            return self.load(path, checkpointables=[])
        for candidate in self._newest_first():
            try:
                content = _read(candidate)
            except DamagedCheckpointError as error:
                logger.warning("%s is left out (%s); going on from the checkpoint before it", candidate, error)
            else:
                return self._restore(content, candidate, None)
        raise InputError(f"{self.save_dir}: no checkpoint in it is whole; train anew, without --resume")

    def remove_partial(self) -> None:
        """Remove what a killed process has not written to the end; nobody reads it, but it can be large."""
        for pattern in (".model_*.pth", ".last_checkpoint.*"):
            for path in Path(self.save_dir).glob(pattern):
                path.unlink(missing_ok=True)

    def _newest_first(self) -> Iterator[Path]:
        last = Path(self.get_checkpoint_file())
        yield last
        # "model_final.pth" comes after all that have a number.
        yield from sorted(
            (path for path in last.parent.glob("model_[0-9]*.pth") if path.name < last.name), reverse=True
        )

    def _restore(self, content: dict[str, Any], path: str | Path, checkpointables: list[str] | None) -> dict[str, Any]:
        apply_weights(self.model, content, path, self.base)
        for key in self.checkpointables if checkpointables is None else checkpointables:
            if key not in content:
                raise InputError(f"{path}: this checkpoint cannot be resumed, it holds no '{key}' state")
            self.checkpointables[key].load_state_dict(content.pop(key))
        return content


def base_fingerprint(model: nn.Module) -> str:
    """SHA-256 of the CLIP weights in the model, image and text encoder."""
    return fingerprint(model.image_encoder, model.text_embedder)


def save_inference_checkpoint(model: nn.Module, cfg: CfgNode, path: str | Path) -> None:
    """Write all that segmenting needs: every weight but the frozen twin's, and the config."""
    content = {"kind": INFERENCE, "model": model.state_dict(), "config": cfg.dump()}
    _write(content, Path(path))


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of sgovss, tensors and plain values only.

    Raises:
        InputError: no such file, a damaged one, or a file of something else.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"MODEL.WEIGHTS: no file {path}; give a checkpoint written by train_net.py")
    try:
        content = _read(path)
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


def _read(path: Path) -> Any:
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


def _write(content: dict[str, Any], path: Path) -> None:
    with atomic_path(path) as temporary:
        torch.save(content, temporary)
