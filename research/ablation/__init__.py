"""Ablations: a protocol of variants, their training with train_net.py, and tables and pictures of the results."""

import sgovss._detectron2  # noqa: F401  before any other import of Detectron2, to suppress its warnings
