"""The config keys that sgovss adds to Detectron2's, and reading of configs.

Reading a config does not import a model. Detectron2's ``build_model`` finds the parts of sgovss by their names after
``import sgovss.modeling.registration``; see :func:`add_sgovss_config`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from detectron2.config import CfgNode, get_cfg
from detectron2.utils.logger import log_first_n

from sgovss import hub, paths
from sgovss.config_errors import ERRORS, explain
from sgovss.config_rules import REMOVED_KEYS, check_values
from sgovss.errors import InputError
from sgovss.paths import config_file
from sgovss.yaml_text import load_yaml

EMBEDDED_CONFIG = "sgovss_tiny.yaml"
"""The config of the model that is part of the package."""


def add_sgovss_config(cfg: CfgNode) -> None:
    """Add every key of sgovss to a Detectron2 config, with its default, in place.

    To build the model with Detectron2's own functions, its parts have to be registered.
    :mod:`sgovss.modeling.registration` does that, and ``sgovss.add_sgovss_config`` imports it::

        import sgovss
        from detectron2.config import get_cfg
        from detectron2.modeling import build_model

        cfg = get_cfg()
        sgovss.add_sgovss_config(cfg)
        model = build_model(cfg)
    """
    cfg.MODEL.META_ARCHITECTURE = "SGOVSS"
    cfg.MODEL.DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
    cfg.MODEL.SEM_SEG_HEAD.NAME = "CostVolumeHead"
    cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE = 255
    cfg.INPUT.FORMAT = "RGB"
    # Mean and standard deviation of RGB in 0..255; empty for those that the CLIP weights were trained with.
    cfg.MODEL.PIXEL_MEAN = []
    cfg.MODEL.PIXEL_STD = []
    _add_clip(cfg)
    _add_head(cfg)
    _add_input(cfg)
    _add_solver(cfg)
    _add_test(cfg)
    _add_logging(cfg)


def _add_clip(cfg: CfgNode) -> None:
    clip = cfg.MODEL.CLIP = CfgNode()
    # "tiny" (the embedded model) or a model name of open_clip, such as convnext_large_d_320 or ViT-B-16.
    clip.NAME = "tiny"
    # "embedded" (of the tiny model), "random", a pretrained tag of open_clip, or the path of a weights file.
    clip.WEIGHTS = "embedded"
    # "gelu", "quick_gelu" (as in OpenAI's models), or "auto": the one that is known for the tag or the file (by its
    # metadata, its name or folder, or a config beside it). It has to be set for a ViT's state dict of unknown origin.
    clip.ACTIVATION = "auto"
    # Trainable parameters of the image encoder: "full" (all), "attention" (queries and values of a ViT) or "none".
    clip.TUNING = "full"
    # The attention that the last block of a ViT has for the dense map: "value" (none, as in MaskCLIP), "qq" (queries
    # with queries, as in ClearCLIP), "qq+kk" (SCLIP), "qq+kk+vv" (SegEarth-OV) or "neighbours" (keys with keys, and
    # with close locations; NACLIP). Convolutional encoders have "value" only.
    clip.DENSE = "value"
    # Gradient checkpointing of the image encoder: less memory, a third more time.
    clip.RECOMPUTE = False
    # Learning rate of the image encoder, as a factor of SOLVER.BASE_LR.
    clip.LR_MULTIPLIER = 0.01
    # Prompt templates: "paper", "plain", "single", "remote_sensing" or "imagenet".
    clip.TEMPLATES = "paper"
    # Use the synonyms of the classes: training draws one name of each class per step, and the best one counts at
    # inference. If off, only the first name of each class is used, as in CAT-Seg and the methods built on it.
    clip.SYNONYMS = True
    # Cache text embeddings in $SGOVSS_CACHE/text (default ~/.cache/sgovss) for later runs.
    clip.KEEP_TEXT = True


def _add_head(cfg: CfgNode) -> None:
    node = cfg.MODEL.SGOVSS = CfgNode()
    # Bias-guided refinement of text and visual features.
    node.BIAS_GUIDANCE = True
    # Multiscale decoder. Without it the logits are scaled and shifted cosines, at the resolution of the image encoder's
    # dense map.
    node.DECODER = True
    # Guide the decoder with the image encoder's feature maps.
    node.VISUAL_GUIDANCE = True
    # Attention across classes in the decoder, guided by the text embeddings.
    node.TEXT_GUIDANCE = True
    # Width of the refinement, and attention heads of refinement and decoder.
    node.HIDDEN_DIM = 256
    node.HEADS = 4
    # At inference the cost map uses CLIP's text embedding (0), the refined one (1) or an interpolation of the two. The
    # refinement is learned from seen classes only, and 1 lowers the accuracy on unseen ones.
    node.TEXT_SHARE = 0.25
    # Number of RS-Bias tokens per image.
    node.BIAS_TOKENS = 1
    # Channels of the cost embedding in the three decoder stages, and kernel size of their depthwise convolutions.
    node.DECODER_DIMS = [64, 48, 32]
    node.DECODER_KERNEL = 7
    # Gradient checkpointing of the decoder's stages: less memory, a little more time.
    node.RECOMPUTE_DECODER = False
    # Channels of the visual guidance of each decoder stage.
    node.GUIDANCE_DIM = 32
    # Initial slope and offset of the output layer: logit = LOGIT_SCALE * cosine + LOGIT_BIAS.
    node.LOGIT_SCALE = 20.0
    node.LOGIT_BIAS = -5.0
    # Ignored pixels in the loss: "MASK" leaves them out, "NEGATIVE" makes them negatives of all classes.
    node.IGNORED_PIXELS = "MASK"
    # Weights of the classes in the pixel loss: their frequency to the power of minus this number, at most 10 times that
    # of the most frequent class. 0: all pixels weigh alike; 1: all classes do. See docs/training.md. (The other way is
    # Detectron2's: DATALOADER.SAMPLER_TRAIN RepeatFactorTrainingSampler with DATALOADER.REPEAT_THRESHOLD.)
    node.CLASS_BALANCE = 0.0
    # The losses are means over the pixels that they apply to. If these are less than this share of the batch, the sum
    # is divided by this share, so that few pixels do not weigh as much as a full batch.
    node.LEAST_SHARE = 0.1
    # Factor of the pixel losses of the decoder's first two stages, whose cost maps are coarser; 0 leaves them out.
    node.STAGE_LOSSES = 0.0
    # Do not train the image encoder through res3, res4 and res5, as in SED; only through the dense map.
    node.DETACH_LEVELS = False

    compensation = node.COMPENSATION = CfgNode()
    # Generalization compensation: losses that keep the image encoder close to the frozen encoder.
    compensation.ENABLED = True
    # Factors of its losses gc3, gc4, gc5 and gcd (res3, res4, res5, dense). They mean the same whatever the number of
    # classes and the share of labelled pixels; "gradient_ratio" in metrics.json shows the effect. docs/evidence.md
    # explains the choice.
    compensation.WEIGHTS = [0.0, 0.0, 0.0, 1.0]
    # Precision of the frozen encoder: "float32" (the losses start at exactly 0) or "bfloat16".
    compensation.TWIN_PRECISION = "float32"
    # Side of the square that is averaged before the comparison, in locations of the dense map.
    compensation.POOL = 2
    # Weight of a labelled pixel in the losses; that of another pixel is 1. With 0 the losses only apply to pixels
    # without a label. With 1 they apply to all pixels alike and counteract what the labels teach.
    compensation.LABELLED = 0.1


def _add_input(cfg: CfgNode) -> None:
    # Dataset files (YAML), in addition to those of sgovss and those in $SGOVSS_DATASETS.
    cfg.DATASETS.SPECIFICATIONS = []
    # Names of training classes to hold out as unseen: training ignores their pixels.
    cfg.DATASETS.UNSEEN = []
    # Images without labels, used by the generalization compensation only: folders (a path, or a folder below
    # $DETECTRON2_DATASETS) or names of registered datasets, whose labels are not read. UNLABELLED_SHARE is their
    # fraction of all training images.
    cfg.DATASETS.UNLABELLED = []
    cfg.DATASETS.UNLABELLED_SHARE = 0.25
    # Number of label files per dataset to check before the run starts; 0 for none.
    cfg.DATASETS.CHECKED_LABELS = 200
    # Ground sample distance of the training images in metres per pixel; 0 if unknown or mixed. If it is 0 and the
    # training sets state the same one, training sets it.
    cfg.INPUT.GROUND_SAMPLE_DISTANCE = 0.0
    # Augment with all eight flips and quarter turns, since aerial images have no top; if off, with horizontal flips.
    cfg.INPUT.ANY_ORIENTATION = True
    # Draw a training crop again, up to ten times, if one class covers more than this fraction of it; 1.0 for no limit.
    cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = 1.0
    # Colour jitter as in SSD.
    cfg.INPUT.COLOR_AUG_SSD = True


def _add_solver(cfg: CfgNode) -> None:
    # Autocast precision if SOLVER.AMP.ENABLED: "bfloat16" or "float16" (CUDA only).
    cfg.SOLVER.AMP.DTYPE = "bfloat16"
    # Compute float32 matrix products and convolutions in TF32 in training (GPU only). It is faster, with 10 bits of
    # mantissa instead of 23.
    cfg.SOLVER.TF32 = True
    # Epsilon of AdamW. Where gradients are as small as this, the steps are shorter than the learning rate.
    cfg.SOLVER.EPS = 1e-8
    # Number of batches whose gradients are accumulated in each step.
    cfg.SOLVER.ACCUMULATE = 1
    # Steps with a loss or gradient that is not finite are skipped; after this many in a row training stops.
    cfg.SOLVER.NONFINITE_PATIENCE = 10


def _add_test(cfg: CfgNode) -> None:
    # Precision of inference: "float32", "bfloat16" or "float16" (CUDA only).
    cfg.TEST.PRECISION = "float32"
    # Compute in TF32 at inference, see SOLVER.TF32.
    cfg.TEST.TF32 = False
    # At inference on a GPU, record the kernels for small inputs as a CUDA graph and replay them. This is faster, takes
    # more memory, and does not change results.
    cfg.TEST.CUDA_GRAPHS = True
    # At inference, decode a class name only if it is among this many best-scoring names at one location or more; 0
    # decodes all names. Faster with many class names; the result is approximate.
    cfg.TEST.EARLY_REJECTION = 0
    # Leave out test sets that are not on disk and print how to get them; if off, they are an error.
    cfg.TEST.SKIP_ABSENT = False
    # Name of a table in sgovss/assets/published.yaml to print next to the results; empty for none.
    cfg.TEST.PUBLISHED = ""
    # Names of the test classes that count as seen; if empty, those that occur in the training vocabulary. Singular and
    # plural are the same.
    cfg.TEST.SEEN = []
    # Also write Detectron2's COCO JSON with a run-length mask of every class in every image, which is large.
    cfg.TEST.SAVE_PREDICTIONS = False

    # Average the scores of several views of each image: "turns" (four quarter turns), "mirror", and scales, such as
    # ["turns", 1, 1.5]; empty for one view. See docs/views.md. (TEST.AUG of Detectron2 averages over scales that are
    # given as lengths of the shorter side, with and without mirroring.)
    cfg.TEST.VIEWS = []

    window = cfg.TEST.SLIDING_WINDOW = CfgNode()
    # In evaluations: segment in overlapping windows instead of the whole image at once.
    window.ENABLED = False
    # Side and stride of the windows in pixels.
    window.WINDOW = 384
    window.STRIDE = 256
    # Resize the image to a square of this side first; 0 keeps its size.
    window.WORKING_SIZE = 640
    # Average with the scores of the whole image, resized to a square of this side; 0 to leave this out.
    window.GLOBAL_VIEW = 384
    # Antialias the image and the scores where they are shrunk. CAT-Seg and methods based on it do not.
    window.ANTIALIAS = True

    scene = cfg.TEST.SCENE = CfgNode()
    # Photographs and rasters of any size: side and stride of the windows, in pixels at the resolution that the model
    # sees.
    scene.WINDOW = 512
    scene.STRIDE = 384
    # Number of windows in a batch; 0 chooses it by the device and its memory.
    scene.BATCH = 0
    # Memory in MB for the scores of unfinished windows. A lower value gives narrower strips; 0 gives the narrowest.
    scene.MEMORY = 256


def _add_logging(cfg: CfgNode) -> None:
    logging_to = cfg.LOGGING = CfgNode()
    # Also send the numbers of a training to Weights & Biases (the name of a project; extra wandb) or to MLflow (the
    # name of an experiment; extra mlflow); empty for neither. Their own variables, such as WANDB_MODE=offline and
    # MLFLOW_TRACKING_URI, say where to.
    logging_to.WANDB = ""
    logging_to.MLFLOW = ""


def config_path(path: str | Path) -> Path:
    """Find a config file.

    Args:
        path: a file, the name of a config of sgovss, such as ``sgovss_tiny.yaml``, a model folder, or a model of the
            hub, see :func:`sgovss.hub.parse_id`.

    Returns:
        The path of the file.

    Raises:
        InputError: there is no such file, config of sgovss, or model.
    """
    folder = hub.local_path(path)
    if paths.is_folder(folder):
        if not (folder / hub.CONFIG).is_file():
            raise InputError(f"{path}: a folder without {hub.CONFIG}; give a config or a model folder")
        return folder / hub.CONFIG
    return Path(path) if paths.is_file(path) else config_file(str(path))


def load_config(path: str | Path, options: Sequence[str] = ()) -> CfgNode:
    """Read a config file, set options on top of it, and check all values.

    The config of a model folder names the folder in MODEL.WEIGHTS, unless the options do, and its MODEL.DEVICE is set
    for this machine.

    Args:
        path: as :func:`config_path` takes it.
        options: alternating keys and values, as on the command line.

    Returns:
        The config, with the keys of Detectron2 and sgovss.

    Raises:
        InputError: the file does not exist or is not YAML, a key is unknown, or a value is wrong.
    """
    cfg = get_cfg()
    add_sgovss_config(cfg)
    file = config_path(path)
    if file.name == hub.CONFIG and file.with_name(hub.WEIGHTS).is_file():
        cfg = config_from_dump(hub.read_config(file.parent), file)
        cfg.MODEL.WEIGHTS = str(file.parent)
    else:
        _merge_file(cfg, file)
    add_options(cfg, options)
    return cfg


def add_options(cfg: CfgNode, options: Sequence[str]) -> None:
    """Set alternating keys and values, as on the command line, in place; then check all values.

    Raises:
        InputError: a key is unknown, or a value is wrong.
    """
    if flags := [key for key in options[::2] if key.startswith("-")]:
        raise InputError(
            f"{flags[0]}: stands behind a config key; write options before the first key, and before --opts"
        )
    if len(options) % 2:
        raise InputError(f"options come in pairs of KEY VALUE, but '{options[-1]}' has no value")
    for key, value in zip(options[::2], options[1::2], strict=True):
        try:
            cfg.merge_from_list([key, value])
        except ERRORS as error:
            raise InputError(explain(error, cfg, key)) from error
    defaults = get_cfg()
    add_sgovss_config(defaults)
    check_values(cfg, defaults)


def config_from_dump(dump: str, source: str | Path) -> CfgNode:
    """Read a config from the text of ``cfg.dump()``, and set MODEL.DEVICE for this machine.

    Keys that sgovss no longer has are left out, with a warning.

    Args:
        dump: YAML text.
        source: the file that it comes from, for messages.

    Returns:
        The config.

    Raises:
        InputError: it has other unknown keys, or values of another type.
    """
    try:
        saved = load_yaml(dump)
    except yaml.YAMLError as error:
        raise InputError(f"{source}: its config is damaged (not YAML); copy it again") from error
    if not isinstance(saved, dict) or not isinstance(saved.get("MODEL"), dict):
        raise InputError(f"{source}: its config is damaged (no keys of MODEL); copy it again")
    warn_of_removed_keys(dump, source)
    saved["MODEL"].pop("DEVICE", None)
    for key in REMOVED_KEYS:
        _pop(saved, key)
    cfg = load_config("base.yaml")
    try:
        cfg.merge_from_other_cfg(CfgNode(saved))
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{source}: its config is of another version of sgovss ({explain(error, cfg)}); use it with that version"
        ) from error
    return cfg


def warn_of_removed_keys(dump: str, source: str | Path) -> None:
    """Log a warning for each removed key in a saved config, once per key and file.

    Args:
        dump: YAML text of ``cfg.dump()``.
        source: the file that it comes from.
    """
    saved = load_yaml(dump)
    defaults = get_cfg()
    for key in REMOVED_KEYS if isinstance(saved, dict) else ():
        if _pop(saved, key) not in (None, _pop(defaults, key)):
            message = f"{source}: its config key {key} was removed from sgovss and is left out ({REMOVED_KEYS[key]})"
            log_first_n(logging.WARNING, message, name=__name__, key="message")


def _pop(content: dict[str, Any], key: str) -> Any:
    """Remove a dotted key from nested dicts and return its value, or None if there is no such key."""
    *parents, name = key.split(".")
    for parent in parents:
        content = content.get(parent, {})
    return content.pop(name, None)


def _merge_file(cfg: CfgNode, path: Path) -> None:
    try:
        # By default Detectron2 builds any Python object that a config names, which can run any program.
        cfg.merge_from_file(str(path), allow_unsafe=False)
    except (TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not a config, or its _BASE_ is not one; expected keys with values, such as 'SEED: 1'"
        ) from error
    except RecursionError as error:
        raise InputError(f"{path}: nested without end; check that its _BASE_ does not lead back to it") from error
    except (KeyError, ValueError, AssertionError, OSError, yaml.YAMLError) as error:
        raise InputError(f"{path}: {explain(error, cfg)}") from error
