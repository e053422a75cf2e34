"""The name that :func:`sgovss.synthetic.generate_image` had in version 0.1, for scripts that were written for it."""

from sgovss.synthetic import generate_image as generate_scene

__all__ = ["generate_scene"]
