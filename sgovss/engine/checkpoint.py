"""Checkpoints: what training saves to go on, and what inference needs and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from fvcore.common.checkpoint import Checkpointer
from torch import nn

from sgovss.errors import InputError
from sgovss.files import atomic_path
from sgovss.modeling.checkpoint import (
    INFERENCE,
    TRAINING,
    DamagedCheckpointError,
    apply_weights,
    base_fingerprint,
    read_checkpoint,
    read_file,
)

logger = logging.getLogger(__name__)


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
                content = read_file(candidate)
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


def save_inference_checkpoint(model: nn.Module, cfg: CfgNode, path: str | Path) -> None:
    """Write all that segmenting needs: every weight but the frozen twin's, and the config."""
    content = {"kind": INFERENCE, "model": model.state_dict(), "config": cfg.dump()}
    _write(content, Path(path))


def _write(content: dict[str, Any], path: Path) -> None:
    with atomic_path(path) as temporary:
        torch.save(content, temporary)
