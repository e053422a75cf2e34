"""Detectron2 meta-architecture with the data flow of the paper's figure 2."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.utils.memory import retry_if_cuda_oom
from torch import nn

from sgovss.modeling.class_scores import ClassScores
from sgovss.modeling.clip_models import load_clip
from sgovss.modeling.clip_settings import pixel_statistics
from sgovss.modeling.compensation import GeneralizationCompensation
from sgovss.modeling.cost_volume import CostVolumeHead, build_head
from sgovss.modeling.cuda_graphs import MOST_ELEMENTS, CudaGraphs, record_graph
from sgovss.modeling.image_encoder import CLIPImageEncoder
from sgovss.modeling.logits import best_word, scores_of, with_offsets
from sgovss.modeling.objective import PixelObjective
from sgovss.modeling.text_embedder import TextEmbedder, TextEmbeddings
from sgovss.modeling.views import View, build_view
from sgovss.precision import autocast, cast_weights, cuda_kernels
from sgovss.vocabulary import Vocabulary

_FROZEN = "frozen_encoder."
_TEXT, _LOGITS = "text", "logits"

MAP_CELLS = 8
"""Cells of the logits for each cell of the dense map, as the decoder enlarges it three times by two."""


class EncodedImages(NamedTuple):
    """Output of the image encoder, which can be classified with any vocabulary.

    Attributes:
        levels: feature maps (B, C, h, w) by name.
        padded_size: (height, width) of the padded images in pixels.
        size: (height, width) of the images in pixels.
    """

    levels: dict[str, torch.Tensor]
    padded_size: tuple[int, int]
    size: tuple[int, int]


class SGOVSS(nn.Module):
    """Soft-guided open-vocabulary semantic segmentation.

    ::

        image ─► tuned CLIP image encoder ──► res3, res4, res5, dense ─┐
           └───► frozen encoder ─► res3, res4, res5, dense (training) ──┤
                      └── generalization compensation ◄────────────────┤
        class names ─► frozen CLIP text encoder ─► text ─► head ◄───────┘
                                                            └─► logits, one map per class name

    The frozen encoder is a copy of the image encoder at construction, before fine-tuned weights are loaded. It is not
    part of ``state_dict()``.

    Args:
        image_encoder: images to feature maps.
        text_embedder: vocabularies to text embeddings.
        head: feature maps and text embeddings to logits; see :class:`CostVolumeHead`.
        objective: pixel loss.
        compensation: losses against the frozen encoder, or None for plain fine-tuning.
        view: how an image is scored at inference: as a whole, in windows, or at several scales.
        pixel_mean, pixel_std: mean and standard deviation of the RGB input in 0..255.
        precision: precision of inference, ``float32``, ``bfloat16`` or ``float16``; the trainer sets that of training.
        tf32: compute in TF32 at inference, see :func:`sgovss.precision.cuda_kernels`.
        frozen_precision: precision of the frozen encoder, ``float32`` or ``bfloat16``.
        stage_losses: factor of the pixel losses on the logits of the decoder's first stages; 0 for none.
        cuda_graphs: at inference on CUDA, replay the kernels for small inputs; see :class:`CudaGraphs`.
    """

    pixel_mean: torch.Tensor
    pixel_std: torch.Tensor

    @configurable
    def __init__(
        self,
        *,
        image_encoder: CLIPImageEncoder,
        text_embedder: TextEmbedder,
        head: CostVolumeHead,
        objective: PixelObjective,
        compensation: GeneralizationCompensation | None,
        view: View,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        precision: str = "float32",
        tf32: bool = False,
        frozen_precision: str = "float32",
        stage_losses: float = 0.0,
        cuda_graphs: bool = False,
    ) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.text_embedder = text_embedder
        self.head = head
        self.objective = objective
        self.stage_losses = stage_losses
        self.compensation = compensation
        self.frozen_encoder: nn.Module | None = None
        if compensation is not None:
            self.frozen_encoder = copy.deepcopy(image_encoder).requires_grad_(False)
            cast_weights(self.frozen_encoder, frozen_precision)
        self.frozen_precision = frozen_precision
        self.view = view
        self.precision = precision
        self.tf32 = tf32
        self.cuda_graphs = cuda_graphs
        self._encoder_graphs = CudaGraphs(self._levels_of, image_encoder, record_graph)
        self._head_graphs = CudaGraphs(self._logits_of, head, record_graph)
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), persistent=False)
        # Convolutions are faster in this memory format, and their results inherit it.
        self.to(memory_format=torch.channels_last)
        self.register_state_dict_post_hook(_drop_frozen_encoder)
        self.register_load_state_dict_post_hook(_ignore_frozen_encoder)
        self.register_load_state_dict_post_hook(_forget_graphs)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        clip = load_clip(cfg.MODEL.CLIP.NAME, cfg.MODEL.CLIP.WEIGHTS, cfg.MODEL.CLIP.ACTIVATION)
        encoder = CLIPImageEncoder(cfg, clip.visual)
        pixel_mean, pixel_std = pixel_statistics(cfg)
        node = cfg.MODEL.SGOVSS
        return {
            "image_encoder": encoder,
            "text_embedder": TextEmbedder(cfg, clip),
            "head": build_head(cfg, encoder.output_shape()),
            "objective": PixelObjective(node.IGNORED_PIXELS, cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE, node.LEAST_SHARE),
            "compensation": GeneralizationCompensation(cfg) if node.COMPENSATION.ENABLED else None,
            "view": build_view(cfg),
            "pixel_mean": pixel_mean,
            "pixel_std": pixel_std,
            "precision": cfg.TEST.PRECISION,
            "tf32": cfg.TEST.TF32,
            "frozen_precision": node.COMPENSATION.TWIN_PRECISION,
            "stage_losses": node.STAGE_LOSSES,
            # Early rejection reads back which classes are left, and a graph cannot wait for the device.
            "cuda_graphs": cfg.TEST.CUDA_GRAPHS and not cfg.TEST.EARLY_REJECTION,
        }

    @property
    def device(self) -> torch.device:
        return self.pixel_mean.device

    def forward(self, batched_inputs: list[dict[str, Any]]) -> dict[str, torch.Tensor] | list[dict[str, torch.Tensor]]:
        """Losses of a batch in training mode, else its segmentation.

        Args:
            batched_inputs: one dict per image, with ``image`` (3, H, W) RGB in 0..255 and ``vocabulary``. In training
                also ``sem_seg`` (H, W), uint8 or int64; all images have the same size and vocabulary. At inference
                optionally ``height`` and ``width`` of the output, and ``labels_only``, true if the scores are not
                needed.

        Returns:
            In training, the scalar losses by name. At inference, one ``{"sem_seg": (T, height, width)}`` per image with
            float32 scores in 0..1 of the T classes of the image's vocabulary; with ``labels_only`` (height, width)
            int64, the class ids with the best scores. This needs less memory if there are many classes.
        """
        if self.training:
            return self.losses(batched_inputs)
        return [self.segment(entry) for entry in batched_inputs]

    def losses(self, batched_inputs: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """``loss_pixel``, those of the decoder's stages and of the compensation; see :meth:`forward`."""
        images, labels = (
            torch.stack([entry[key].to(self.device, non_blocking=True) for entry in batched_inputs])
            for key in ("image", "sem_seg")
        )
        labels = labels.long()
        images = self._prepare(images)
        vocabulary = batched_inputs[0]["vocabulary"]
        words = _one_word_each(self.text_embedder(vocabulary), len(vocabulary))
        levels = self.image_encoder(images)
        maps = self.head.stages(levels, words) if self.stage_losses else [self.head(levels, words)]
        losses = self._pixel_losses([_crop(each, images.shape, labels.shape) for each in maps], labels)
        if self.compensation is not None:
            assert self.frozen_encoder is not None
            with torch.no_grad(), autocast(self.frozen_precision, self.device):
                frozen = self.frozen_encoder(images)
            labelled = labels != self.objective.ignore_label
            losses.update(self.compensation(levels, frozen, labelled, classes=maps[-1].shape[1]))
        return losses

    def _pixel_losses(self, maps: Sequence[torch.Tensor], labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """The pixel loss of the last of some logits (B, T, h, w), and those of the decoder stages before it."""
        losses = {"loss_pixel": self.objective(maps[-1], labels)}
        for number, coarse in enumerate(maps[:-1], 1):
            losses[f"loss_stage{number}"] = self.stage_losses * self.objective(coarse, labels)
        return losses

    def segment(self, entry: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Segment one image; see :meth:`forward`."""
        height, width = entry["image"].shape[-2:]
        scores = self.score_image(entry["image"].to(self.device, non_blocking=True), entry["vocabulary"])
        scores = scores.resized((entry.get("height", height), entry.get("width", width)))
        return {"sem_seg": scores.best()[0] if entry.get("labels_only") else scores.all()}

    @torch.no_grad()
    def score_image(self, image: torch.Tensor, vocabulary: Vocabulary, view: View | None = None) -> ClassScores:
        """One image (3, H, W) in 0..255 -> its scores (T, H, W) in 0..1, in a view; by default ``self.view``."""

        def score(images: torch.Tensor) -> list[ClassScores]:
            return self.class_scores(self.encode(images.to(self.device)), vocabulary)

        return retry_if_cuda_oom(view or self.view)(score, image)

    def scores(self, images: torch.Tensor, vocabulary: Vocabulary) -> torch.Tensor:
        """Images (B, 3, H, W) in 0..255 -> scores (B, T, H, W) in 0..1; see :meth:`classify`."""
        return self.classify(self.encode(images), vocabulary)

    def score_maps(self, images: torch.Tensor, vocabulary: Vocabulary) -> torch.Tensor:
        """Images (B, 3, H, W) in 0..255 -> score maps; see :meth:`maps_of`."""
        return self.maps_of(self.encode(images), vocabulary)

    def maps_of(self, encoded: EncodedImages, vocabulary: Vocabulary) -> torch.Tensor:
        """Encoded images -> scores at the resolution of the logits.

        Returns:
            (B, T, h, w) float32 in 0..1, of the padded images: h and w are ``map_cells`` for each
            ``size_divisibility`` pixels.
        """
        return self._logits(encoded, vocabulary).float().sigmoid_()

    @property
    def size_divisibility(self) -> int:
        """Images are padded to a multiple of this number of pixels."""
        return self.image_encoder.size_divisibility

    @property
    def map_cells(self) -> int:
        """Cells of a score map for ``size_divisibility`` pixels."""
        return MAP_CELLS

    def encode(self, images: torch.Tensor) -> EncodedImages:
        """Encode images (B, 3, H, W) in 0..255; the result does not depend on a vocabulary."""
        padded = self._prepare(images)
        levels = self._infer(self._encoder_graphs, {"images": padded}, padded.numel())
        padded_size, size = ((x.shape[-2], x.shape[-1]) for x in (padded, images))
        return EncodedImages(levels, padded_size, size)

    def classify(self, encoded: EncodedImages, vocabulary: Vocabulary) -> torch.Tensor:
        """Encoded images -> scores (B, T, H, W) in 0..1: the maximum over the names and synonyms of each class."""
        return scores_of(self._logits(encoded, vocabulary), encoded.padded_size, encoded.size)

    def class_scores(self, encoded: EncodedImages, vocabulary: Vocabulary) -> list[ClassScores]:
        """Encoded images -> the scores of each, as :meth:`classify` gives them, computed when they are needed."""
        logits = self._logits(encoded, vocabulary)
        pixels = encoded.padded_size[0] * encoded.padded_size[1]
        return [
            ClassScores(len(vocabulary), encoded.size, _scores_of_classes(each, encoded), pixels, each.device)
            for each in logits
        ]

    def _logits(self, encoded: EncodedImages, vocabulary: Vocabulary) -> torch.Tensor:
        """Encoded images -> logits (B, T, h, w) of the padded images."""
        text = self.text_embedder(vocabulary)
        inputs = {**encoded.levels, _TEXT: text.embeddings}
        cells = MAP_CELLS**2 * encoded.levels["dense"][:, 0].numel()
        logits = self._infer(self._head_graphs, inputs, len(text.owners) * cells)[_LOGITS]
        if len(text.owners) > len(vocabulary):
            logits = best_word(logits, text.owners, len(vocabulary))
        return with_offsets(logits, vocabulary)

    def _infer(self, graphs: CudaGraphs, inputs: Mapping[str, torch.Tensor], elements: int) -> dict[str, torch.Tensor]:
        """Call the function of the graphs; with a graph only if its larger end has few elements."""
        if self.cuda_graphs and elements <= MOST_ELEMENTS:
            return graphs(inputs, self.precision, self.tf32)
        return graphs.function(inputs)

    def _levels_of(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Normalised ``images`` -> feature maps by name."""
        with self._inference_arithmetic():
            return self.image_encoder(inputs["images"])

    def _logits_of(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Feature maps by name and text embeddings -> logits."""
        levels = {name: tensor for name, tensor in inputs.items() if name != _TEXT}
        with self._inference_arithmetic():
            return {_LOGITS: self.head(levels, inputs[_TEXT])}

    @contextlib.contextmanager
    def _inference_arithmetic(self) -> Iterator[None]:
        # Images at inference have many sizes, so timing the kernels for each would not pay.
        with cuda_kernels(self.device, tf32=self.tf32, benchmark=False), autocast(self.precision, self.device):
            yield

    def _prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise, and pad right and bottom to multiples of the encoder's stride by repeating the border."""
        images = (images.float() - self.pixel_mean) / self.pixel_std
        divisor = self.image_encoder.size_divisibility
        # torch.export needs this form to prove that the sum of side and padding is a multiple of the divisor.
        missing = [(side + divisor - 1) // divisor * divisor - side for side in images.shape[-2:]]
        return F.pad(images, (0, missing[1], 0, missing[0]), mode="replicate")


def _one_word_each(text: TextEmbeddings, classes: int) -> torch.Tensor:
    """Draw the embedding of one name or synonym for each of T classes at random: (N, D) -> (T, D).

    No shape depends on the values, so the device is not waited for.
    """
    device = text.owners.device
    order = torch.rand(len(text.owners), device=device).argsort()
    order = order[text.owners[order].argsort(stable=True)]
    first = torch.searchsorted(text.owners, torch.arange(classes, device=device))
    return text.embeddings[order[first]]


def _scores_of_classes(logits: torch.Tensor, encoded: EncodedImages) -> Callable[[slice], torch.Tensor]:
    """Logits (T, h, w) of one padded image -> a function from a slice of the classes to their scores (t, H, W)."""
    return lambda classes: scores_of(logits[None, classes], encoded.padded_size, encoded.size)[0]


def _crop(logits: torch.Tensor, padded: torch.Size, labels: torch.Size) -> torch.Tensor:
    """Cut off the logits of the padding, rounded to whole locations; at least one is left."""
    height, width = (max(1, round(logits.shape[axis] * labels[axis] / padded[axis])) for axis in (-2, -1))
    return logits[..., :height, :width]


def _drop_frozen_encoder(module: nn.Module, state_dict: dict[str, Any], prefix: str, metadata: dict) -> None:
    for key in [key for key in state_dict if key.startswith(prefix + _FROZEN)]:
        del state_dict[key]


def _ignore_frozen_encoder(module: nn.Module, incompatible: Any) -> None:
    incompatible.missing_keys[:] = [key for key in incompatible.missing_keys if _FROZEN not in key]


def _forget_graphs(module: nn.Module, incompatible: Any) -> None:
    assert isinstance(module, SGOVSS)
    for graphs in (module._encoder_graphs, module._head_graphs):
        graphs.clear()
