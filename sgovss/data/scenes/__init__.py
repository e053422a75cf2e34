"""Generated aerial scenes with exact masks and captions: the data sgovss brings along.

A scene is drawn on a :class:`~sgovss.data.scenes.canvas.Canvas` in metres (colour, class and height of every
point), lit by a sun that casts the shadows from the heights, and photographed with haze, blur and noise.
"""

from sgovss.data.scenes.classes import SCENE_CLASSES, SCENE_VOCABULARY
from sgovss.data.scenes.scene import Scene, generate_scene
from sgovss.data.scenes.styles import STYLES
from sgovss.data.scenes.writer import contact_sheet, write_scenes

__all__ = ["SCENE_CLASSES", "SCENE_VOCABULARY", "STYLES", "Scene", "contact_sheet", "generate_scene", "write_scenes"]
