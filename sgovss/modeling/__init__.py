"""The model. Importing this package registers its parts with Detectron2."""

import sgovss._detectron2  # noqa: F401
from sgovss.modeling.build import build_model
from sgovss.modeling.cost_volume import CostVolumeHead
from sgovss.modeling.image_encoder import CLIPImageEncoder
from sgovss.modeling.meta_arch import SGOVSS

__all__ = ["SGOVSS", "CLIPImageEncoder", "CostVolumeHead", "build_model"]
