"""Writing of checkpoints: those that training resumes from, and self-contained ones for inference."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from fvcore.common.checkpoint import Checkpointer
from torch import nn

from sgovss.config_changes import Use, report_changes
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
    unread_tensors,
)

logger = logging.getLogger(__name__)


class SGOVSSCheckpointer(Checkpointer):
    """Saves the trainable weights, the config and the hash of the base weights.

    The base weights (CLIP's) are not copied into every checkpoint. They are loaded from MODEL.CLIP.WEIGHTS again,
    and the hash shows whether they are the same.

    Args:
        model: a model that still has its base weights.
        cfg: the config to save; checkpoints are written to its OUTPUT_DIR.
        checkpointables: further objects with ``state_dict`` and ``load_state_dict``.
    """

    def __init__(self, model: nn.Module, cfg: CfgNode, **checkpointables: Any) -> None:
        super().__init__(model, cfg.OUTPUT_DIR, **checkpointables)
        self.cfg = cfg
        self.base = base_fingerprint(self.model)

    def save(self, name: str, **kwargs: Any) -> None:
        """Write ``OUTPUT_DIR/<name>.pth`` atomically.

        Args:
            name: file name without its suffix.
            kwargs: further values to store, such as ``iteration``.
        """
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
        """Write the name of the last checkpoint to ``OUTPUT_DIR/last_checkpoint``."""
        with atomic_path(Path(self.save_dir) / "last_checkpoint") as temporary:
            temporary.write_text(last_filename_basename, encoding="utf-8")

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """Load the weights, and the states of ``checkpointables``.

        Args:
            path: the checkpoint; empty to load nothing.
            checkpointables: names of the objects whose states are loaded; None for all.

        Returns:
            the rest of the file's content.

        Raises:
            InputError: the file is missing or damaged, or belongs to another architecture or other base weights.
        """
        return self._restore(read_checkpoint(path), path, checkpointables, Use.START) if path else {}

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """Resume from the newest undamaged checkpoint if ``resume`` is set and one exists; else load ``path``.

        Args:
            path: a checkpoint whose weights training starts from; empty for none.
            resume: whether to resume.

        Returns:
            the rest of the file's content.

        Raises:
            InputError: see :meth:`load`; or every checkpoint to resume from is damaged.
        """
        if not (resume and self.has_checkpoint()):
            return self.load(path, checkpointables=[])
        candidates = self._newest_first()
        if candidates[0].name != (named := self._last_name()):
            state = f"names {named}, which is not there" if named else "is missing or empty"
            logger.warning("%s: last_checkpoint %s; resuming from %s", self.save_dir, state, candidates[0].name)
        for candidate in candidates:
            try:
                content = read_file(candidate)
            except DamagedCheckpointError as error:
                logger.warning("%s is skipped (%s); resuming from the checkpoint before it", candidate, error)
            else:
                return self._restore(content, candidate, None, Use.RESUME)
        raise InputError(f"{self.save_dir}: every checkpoint in this folder is damaged; start again without --resume")

    def remove_partial(self) -> None:
        """Remove the temporary files of a killed process; they are useless but can be large."""
        for pattern in (".model_*.pth", ".last_checkpoint.*"):
            for path in Path(self.save_dir).glob(pattern):
                path.unlink(missing_ok=True)

    def has_checkpoint(self) -> bool:
        """Whether there is a checkpoint to resume from; it may be damaged."""
        return bool(self._newest_first())

    def _newest_first(self) -> list[Path]:
        """The checkpoint that ``last_checkpoint`` names, and those before it; all, if it names none that is there."""
        folder = Path(self.save_dir)
        # "model_final.pth" is newer than all numbered checkpoints.
        found = sorted((*folder.glob("model_[0-9]*.pth"), *folder.glob("model_final.pth")), reverse=True)
        last = folder / self._last_name()
        return [last, *(path for path in found if path.name < last.name)] if last.is_file() else found

    def _last_name(self) -> str:
        try:
            return (Path(self.save_dir) / "last_checkpoint").read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""

    def _restore(
        self, content: dict[str, Any], path: str | Path, checkpointables: list[str] | None, use: Use
    ) -> dict[str, Any]:
        apply_weights(self.model, content, path, self.base)
        if use is Use.RESUME and unread_tensors(self.model, content):
            raise InputError(
                f"{path}: of an older version, whose optimizer has parameters that this one does not have, so it "
                "cannot be resumed; to train on from its weights, set MODEL.WEIGHTS to it and leave out --resume"
            )
        report_changes(self.cfg, content["config"], path, use)
        for key in self.checkpointables if checkpointables is None else checkpointables:
            if key not in content:
                raise InputError(
                    f"{path}: this checkpoint has no '{key}' state to resume from; start again without --resume"
                )
            self.checkpointables[key].load_state_dict(content.pop(key))
        return content


def save_inference_checkpoint(model: nn.Module, cfg: CfgNode, path: str | Path) -> None:
    """Write a self-contained checkpoint for inference: the config and all weights except the frozen encoder's."""
    content = {"kind": INFERENCE, "model": model.state_dict(), "config": cfg.dump()}
    _write(content, Path(path))


def _write(content: dict[str, Any], path: Path) -> None:
    with atomic_path(path) as temporary:
        torch.save(content, temporary)
