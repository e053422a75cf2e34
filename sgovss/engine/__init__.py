"""Detectron2's trainer, checkpoints and the run of train_net.py."""

import sgovss._detectron2  # noqa: F401
