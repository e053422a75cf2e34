"""Segmenting images: views, predictor, overlays."""

import sgovss._detectron2  # noqa: F401
