"""Synthetic aerial images with exact masks and captions.

An image is drawn on a :class:`~sgovss.synthetic.canvas.Canvas` in metres, which holds colour, class and height of
every point. Sunlight and shadows are computed from the heights; haze, blur and sensor noise are added last.
"""

from sgovss.synthetic.classes import SYNTHETIC_CLASSES, SYNTHETIC_VOCABULARY, WIDE_VOCABULARY
from sgovss.synthetic.image import SyntheticImage, generate_image
from sgovss.synthetic.seeds import overlapping_splits
from sgovss.synthetic.styles import STYLES
from sgovss.synthetic.writer import contact_sheet, write_images

__all__ = [
    "STYLES",
    "SYNTHETIC_CLASSES",
    "SYNTHETIC_VOCABULARY",
    "WIDE_VOCABULARY",
    "SyntheticImage",
    "contact_sheet",
    "generate_image",
    "overlapping_splits",
    "write_images",
]
