"""Segment images: predictor, result, rejection, report."""

import sgovss._detectron2  # noqa: F401
