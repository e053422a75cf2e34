"""Segment with an ONNX file: onnxruntime runs the image path, torch runs the text encoder."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode

from sgovss.config import add_options, config_from_dump
from sgovss.config_changes import Use, report_changes
from sgovss.errors import InputError
from sgovss.export.image_path import Run, starts_of
from sgovss.export.onnx_file import OnnxImagePath
from sgovss.fingerprint import difference, fingerprint
from sgovss.inference.inputs import ImageInput
from sgovss.inference.predictor import segment_image
from sgovss.inference.rejection import NOTHING_REJECTED, Rejection
from sgovss.inference.segmentation import Segmentation
from sgovss.modeling.class_scores import ClassScores
from sgovss.modeling.clip_models import load_clip
from sgovss.modeling.logits import with_score_offsets
from sgovss.modeling.meta_arch import MAP_CELLS
from sgovss.modeling.text_embedder import TextEmbedder
from sgovss.modeling.views import View, build_native_view, build_view
from sgovss.vocabulary import Vocabulary, Words

_FREE_KEYS = ("MODEL.CLIP.WEIGHTS", "MODEL.CLIP.TEMPLATES", "MODEL.CLIP.SYNONYMS", "MODEL.CLIP.KEEP_TEXT")
"""Keys of the text encoder. No other key of MODEL may be changed, because the file is fixed."""


@dataclass(frozen=True)
class ExportedModel:
    """An exported image path with the interface of :class:`SegmentationModel`.

    Args:
        run: the image path.
        text_embedder: embeds vocabularies.
        view: the view for testing, such as sliding windows.
        divisibility: see ``size_divisibility``.

    Attributes:
        device: of the images it takes.
    """

    run: Run
    text_embedder: TextEmbedder
    view: View
    divisibility: int

    device = torch.device("cpu")

    def scores(self, images: torch.Tensor, vocabulary: Vocabulary) -> torch.Tensor:
        """See :meth:`SGOVSS.scores`."""
        text = self.text_embedder(vocabulary)
        scores = self.run(images.float(), text.embeddings, starts_of(text.owners, len(vocabulary)))
        return with_score_offsets(scores, vocabulary)

    @property
    def size_divisibility(self) -> int:
        """See :meth:`SGOVSS.size_divisibility`."""
        return self.divisibility

    @property
    def map_cells(self) -> int:
        """See :meth:`SGOVSS.map_cells`."""
        return MAP_CELLS

    def score_maps(self, images: torch.Tensor, vocabulary: Vocabulary) -> torch.Tensor:
        """See :meth:`SGOVSS.score_maps`. The file gives scores of every pixel, from which those of the cells are taken.

        The sides of the images must be multiples of ``size_divisibility``.
        """
        size = [side // self.size_divisibility * self.map_cells for side in images.shape[-2:]]
        return F.interpolate(self.scores(images, vocabulary), size=size, mode="bilinear", align_corners=False)

    @torch.no_grad()
    def score_image(self, image: torch.Tensor, vocabulary: Vocabulary, view: View | None = None) -> ClassScores:
        """See :meth:`SGOVSS.score_image`."""
        view = view or self.view
        return view(lambda images: [ClassScores.of(each) for each in self.scores(images, vocabulary)], image)


class OnnxPredictor:
    """A predictor that runs an ONNX file. The config in the file names the weights of its text encoder.

    Args:
        path: a file that ``sgovss export`` wrote.
        options: alternating config keys and values that override the config in the file.
        benchmark_view: see :class:`sgovss.Predictor`.

    Raises:
        InputError: the file cannot be used, an option would change a part that is fixed in it, or the weights of the
            text encoder are missing or differ from those at export.
    """

    def __init__(self, path: str | Path, options: tuple[str, ...] = (), benchmark_view: bool = False) -> None:
        run = OnnxImagePath(path)
        self.path = run.path
        self.cfg = onnx_config(run, options)
        clip = self.cfg.MODEL.CLIP
        embedder = TextEmbedder(self.cfg, load_clip(clip.NAME, clip.WEIGHTS, clip.ACTIVATION)).eval()
        embedder.build()
        if difference(fingerprint(embedder), run.metadata["text_encoder_sha256"]):
            raise InputError(
                f"MODEL.CLIP.WEIGHTS: the text encoder of '{clip.WEIGHTS}' is not the one that {path} was exported "
                "with; give the weights that the model was trained from"
            )
        benchmark, step = build_view(self.cfg), int(run.metadata["size_divisibility"])
        self.model = ExportedModel(run, embedder, benchmark, step)
        self.view = benchmark if benchmark_view else build_native_view(self.cfg, step, self.model.map_cells)

    @functools.cached_property
    def fingerprint(self) -> str:
        """A digest of file and config: predictors with equal fingerprints give equal scores."""
        return hashlib.sha256(self.path.read_bytes() + self.cfg.MODEL.dump().encode()).hexdigest()

    def __call__(self, image: ImageInput, vocabulary: Words, rejection: Rejection = NOTHING_REJECTED) -> Segmentation:
        """Segment one image; see :func:`segment_image`."""
        return segment_image(self.model, image, vocabulary, rejection, self.view)


def onnx_config(run: OnnxImagePath, options: Sequence[str]) -> CfgNode:
    """Read the config in an ONNX file and override it by options.

    Args:
        run: the ONNX file.
        options: alternating config keys and values.

    Raises:
        InputError: an option is wrong, or would change a part that is fixed in the file.
    """
    for key in options[::2]:
        if key.startswith("MODEL.") and key not in _FREE_KEYS:
            raise InputError(f"options: {key} is fixed in {run.path}; export the model again to change it")
    cfg = config_from_dump(run.metadata["config"], run.path)
    add_options(cfg, options)
    report_changes(cfg, run.metadata["config"], run.path, Use.INFERENCE)
    return cfg
