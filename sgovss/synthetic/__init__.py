"""Generated aerial scenes with exact masks and captions: the data sgovss brings along.

A scene is drawn on a :class:`~sgovss.synthetic.canvas.Canvas` in metres (colour, class and height of every
point), lit by a sun that casts the shadows from the heights, and photographed with haze, blur and noise.
"""

from sgovss.synthetic.classes import SYNTHETIC_CLASSES, SYNTHETIC_VOCABULARY
from sgovss.synthetic.scene import Scene, generate_image
from sgovss.synthetic.styles import STYLES
from sgovss.synthetic.writer import contact_sheet, write_images

__all__ = [
    "STYLES",
    "SYNTHETIC_CLASSES",
    "SYNTHETIC_VOCABULARY",
    "Scene",
    "contact_sheet",
    "generate_image",
    "write_images",
]
