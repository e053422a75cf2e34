"""The config keys sgovss adds to Detectron2's, and how a config is read."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from detectron2.config import CfgNode, get_cfg

from sgovss.config_rules import check_values
from sgovss.errors import InputError
from sgovss.paths import config_file

logger = logging.getLogger(__name__)

REMOVED_KEYS = {"MODEL.BACKBONE.NAME": get_cfg().MODEL.BACKBONE.NAME, "SOLVER.OPTIMIZER": None}
"""Keys of earlier versions that a checkpoint's config may still hold, with Detectron2's default where it has one."""


def add_sgovss_config(cfg: CfgNode) -> None:
    """Add every key of sgovss to a Detectron2 config, with its default, in place."""
    cfg.MODEL.META_ARCHITECTURE = "SGOVSS"
    cfg.MODEL.DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
    cfg.MODEL.SEM_SEG_HEAD.NAME = "CostVolumeHead"
    cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE = 255
    cfg.INPUT.FORMAT = "RGB"
    _add_model(cfg)
    _add_input(cfg)
    _add_solver_and_test(cfg)


def _add_model(cfg: CfgNode) -> None:
    clip = cfg.MODEL.CLIP = CfgNode()
    # "tiny" (embedded) or a model name of open_clip, such as convnext_large_d_320 or ViT-B-16.
    clip.NAME = "tiny"
    # "embedded", "random", a tag of open_clip, or the path of a state dict.
    clip.WEIGHTS = "embedded"
    # "gelu", "quick_gelu" (OpenAI's) or "auto": what a tag, a converted file, one of OpenAI's or one known by its name
    # (assets/known_weights.yaml) says, and else the model's own.
    clip.ACTIVATION = "auto"
    # What learns in the image encoder: "full", "attention" (queries and values of a ViT) or "none".
    clip.TUNING = "full"
    # Compute the image encoder's blocks again in the backward pass: less memory, a third more time.
    clip.RECOMPUTE = False
    # Factor on the learning rate for the image encoder.
    clip.LR_MULTIPLIER = 0.01
    # Prompt templates: "paper", "plain", "single", "remote_sensing" or "imagenet".
    clip.TEMPLATES = "paper"
    # Keep text embeddings in $SGOVSS_CACHE/text (default ~/.cache/sgovss), so that no run encodes them again.
    clip.KEEP_TEXT = True

    node = cfg.MODEL.SGOVSS = CfgNode()
    # Refine text and visual features under the RS-Bias.
    node.BIAS_GUIDANCE = True
    # Decode the cost map in three stages; off, the logits are its affine map.
    node.DECODER = True
    # Let the encoder's levels guide the decoder.
    node.VISUAL_GUIDANCE = True
    # Let classes attend to each other in the decoder, guided by the text.
    node.TEXT_GUIDANCE = True
    # Width of the refinement, and attention heads of refinement and decoder.
    node.HIDDEN_DIM = 256
    node.HEADS = 4
    # How much of the text's refinement the correlation uses after training, 0 to 1. It is learned on the seen names
    # alone and leads others astray; what is left out of it, CLIP's own embedding says. The decoder has all of it.
    node.TEXT_SHARE = 0.25
    # Number of RS-Bias tokens per image.
    node.BIAS_TOKENS = 1
    # Channels of the cost embedding at the three decoder stages, and side of its depthwise convolutions.
    node.DECODER_DIMS = [64, 48, 32]
    node.DECODER_KERNEL = 7
    # Compute the decoder's stages again in the backward pass: less memory, a little more time.
    node.RECOMPUTE_DECODER = False
    # Channels of the visual guidance of each decoder stage.
    node.GUIDANCE_DIM = 32
    # First slope and offset of the output layer: logit = LOGIT_SCALE * cosine + LOGIT_BIAS.
    node.LOGIT_SCALE = 20.0
    node.LOGIT_BIAS = -5.0
    # Ignored pixels in the loss: "MASK" leaves them out, "NEGATIVE" counts them as none of the classes.
    node.IGNORED_PIXELS = "MASK"

    compensation = node.COMPENSATION = CfgNode()
    # Soft guidance by the frozen twin; off is plain fine-tuning.
    compensation.ENABLED = True
    # Factors of the losses gc3, gc4, gc5 and gcd (res3, res4, res5, dense), as docs/evidence.md chose them.
    compensation.WEIGHTS = [0.0, 0.0, 0.0, 1.0]
    # What the frozen twin computes in: "float32" (its guidance then starts at exactly zero) or "bfloat16".
    compensation.TWIN_PRECISION = "float32"
    # Side of the pooling cells, in cells of the dense map.
    compensation.POOL = 2
    # Factor of the guidance where pixels are labelled; elsewhere it is 1. At 0 the twin says nothing where every pixel
    # has a label, at 1 it contradicts the labels.
    compensation.LABELLED = 0.1


def _add_input(cfg: CfgNode) -> None:
    # YAML files of further datasets, beside those that come with sgovss and in $SGOVSS_DATASETS.
    cfg.DATASETS.SPECIFICATIONS = []
    # Names of training classes held out as unseen: their pixels are ignored in training.
    cfg.DATASETS.UNSEEN = []
    # Images without labels for the frozen twin alone to guide on: folders, as given or below $DETECTRON2_DATASETS, and
    # registered datasets, whose labels are not read; and their share of all training images.
    cfg.DATASETS.UNLABELLED = []
    cfg.DATASETS.UNLABELLED_SHARE = 0.25
    # How many label files of each dataset are read through before the run starts; 0 for none.
    cfg.DATASETS.CHECKED_LABELS = 200
    # Metres per pixel of the training images, 0 where unknown or mixed; taken from the training sets that state it.
    cfg.INPUT.GROUND_SAMPLE_DISTANCE = 0.0
    # All eight flips and quarter turns in training, as an image from above has no up; else the horizontal flip.
    cfg.INPUT.ANY_ORIENTATION = True
    # A training crop with a larger share of one class is drawn again, up to ten times; 1.0 takes any.
    cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = 1.0
    # Colour jitter as in SSD.
    cfg.INPUT.COLOR_AUG_SSD = True


def _add_solver_and_test(cfg: CfgNode) -> None:
    # Precision of autocast where SOLVER.AMP.ENABLED: "bfloat16" or "float16" (CUDA only).
    cfg.SOLVER.AMP.DTYPE = "bfloat16"
    # Batches whose gradients are added up before each step.
    cfg.SOLVER.ACCUMULATE = 1
    # A step whose loss or gradient is not finite is skipped; so many in a row end training.
    cfg.SOLVER.NONFINITE_PATIENCE = 10
    # What evaluation computes in: "float32" or "bfloat16".
    cfg.TEST.PRECISION = "float32"
    # At inference, decode only the words that are among so many best of some location; 0 decodes all. Faster with many
    # words, and not exactly the same.
    cfg.TEST.EARLY_REJECTION = 0
    # Leave out test sets whose folders are not there, and say how to get them; off, they are an error.
    cfg.TEST.SKIP_ABSENT = False
    # Table of sgovss/assets/published.yaml to print the results beside; empty for none.
    cfg.TEST.PUBLISHED = ""
    # Test classes counted as seen, by name; empty: those the training vocabulary knows.
    cfg.TEST.SEEN = []

    window = cfg.TEST.SLIDING_WINDOW = CfgNode()
    # Overlapping windows instead of the whole image.
    window.ENABLED = False
    # Side of the windows and distance between them, in pixels.
    window.WINDOW = 384
    window.STRIDE = 256
    # Side of the square the image is resized to first; 0 keeps its size.
    window.WORKING_SIZE = 640
    # Side of the square at which the whole image is seen as well; 0 for no such view.
    window.GLOBAL_VIEW = 384

    scene = cfg.TEST.SCENE = CfgNode()
    # Rasters of any size: side of the windows and distance between them, in pixels as the model sees them.
    scene.WINDOW = 512
    scene.STRIDE = 384
    # Windows segmented at once.
    scene.BATCH = 1
    # Megabytes for the scores of windows that are not finished; less makes narrower strips, 0 the narrowest.
    scene.MEMORY = 256


def config_path(path: str | Path) -> Path:
    """A config file as it is, or the one of this name that comes with sgovss.

    Raises:
        InputError: there is neither.
    """
    return Path(path) if Path(path).is_file() else config_file(str(path))


def load_config(path: str | Path, options: Sequence[str] = ()) -> CfgNode:
    """Read a config file, with options on top.

    Args:
        path: a file, or the name of one that comes with sgovss, such as ``sgovss_tiny.yaml``.
        options: alternating keys and values, as on the command line.

    Raises:
        InputError: no such file, not YAML, an unknown key, or a value that is wrong.
    """
    cfg = get_cfg()
    add_sgovss_config(cfg)
    _merge_file(cfg, config_path(path))
    add_options(cfg, options)
    return cfg


def add_options(cfg: CfgNode, options: Sequence[str]) -> None:
    """Set alternating keys and values, as on the command line, in place; then check all values.

    Raises:
        InputError: an unknown key, or a value that is wrong.
    """
    if len(options) % 2:
        raise InputError(f"options come in pairs of KEY VALUE, but '{options[-1]}' has no value")
    try:
        cfg.merge_from_list(list(options))
    except (KeyError, ValueError, AssertionError, AttributeError) as error:
        raise InputError(f"options: {_reason(error)}; configs/base.yaml and sgovss/config.py list the keys") from error
    defaults = get_cfg()
    add_sgovss_config(defaults)
    check_values(cfg, defaults)


def config_from_dump(dump: str, source: str | Path) -> CfgNode:
    """Read a config that ``cfg.dump()`` wrote, for the devices of this machine.

    Keys that this version no longer has are left out; a warning names them.

    Args:
        dump: YAML text.
        source: the file it stands in, for messages.

    Raises:
        InputError: it has other unknown keys, or values of another type.
    """
    saved = yaml.safe_load(dump)
    saved["MODEL"].pop("DEVICE")
    cfg = load_config("base.yaml")
    for key, default in REMOVED_KEYS.items():
        if _pop(saved, key) not in (None, default):
            logger.warning("%s: its config key %s is no longer used and is left out", source, key)
    try:
        cfg.merge_from_other_cfg(CfgNode(saved))
    except (KeyError, ValueError) as error:
        raise InputError(f"{source}: its config is of another version of sgovss ({error})") from error
    return cfg


def _pop(content: dict[str, Any], key: str) -> Any:
    """Remove a dotted key from nested dicts; returns its value, None where there is none."""
    *parents, name = key.split(".")
    for parent in parents:
        content = content.get(parent, {})
    return content.pop(name, None)


def _merge_file(cfg: CfgNode, path: Path) -> None:
    try:
        # Detectron2 would build any Python object that a config asks for, and so run any program.
        cfg.merge_from_file(str(path), allow_unsafe=False)
    except (TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: no config, nor does its _BASE_ name one; expected keys with values, such as 'SEED: 1'"
        ) from error
    except RecursionError as error:
        raise InputError(f"{path}: nested without end; does its _BASE_ lead back to itself?") from error
    except (KeyError, ValueError, AssertionError, OSError, yaml.YAMLError) as error:
        raise InputError(f"{path}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    message = str(error.args[0] if isinstance(error, KeyError) and error.args else error) or type(error).__name__
    return " ".join(message.split())[:300]
