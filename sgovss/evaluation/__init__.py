"""Scores of a segmentation, and pictures of them."""

from sgovss._detectron2 import quiet_import

with quiet_import():
    import detectron2.evaluation  # noqa: F401
