"""Detectron2's trainer, checkpoints and the run of ``sgovss train``."""

import sgovss._detectron2  # noqa: F401
