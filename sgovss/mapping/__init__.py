"""Segment whatever a user names or passes, photographs and rasters, into a folder of products."""

import sgovss._detectron2  # noqa: F401  before any other import of Detectron2, to suppress its warnings
