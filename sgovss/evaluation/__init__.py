"""Scores of a segmentation, and pictures of them."""

import sgovss._detectron2  # noqa: F401
