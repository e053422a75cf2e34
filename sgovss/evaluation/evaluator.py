"""Detectron2's semantic segmentation evaluator, extended to seen and unseen classes."""

from __future__ import annotations

import itertools
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.evaluation import SemSegEvaluator
from detectron2.utils import comm

from sgovss.errors import InputError
from sgovss.evaluation import metrics
from sgovss.evaluation.report import Report
from sgovss.files import write_json_atomically
from sgovss.vocabulary import Vocabulary

logger = logging.getLogger(__name__)


class OpenVocabularyEvaluator(SemSegEvaluator):
    """Scores predictions on one test set; adds seen, unseen and harmonic-mean mIoU to Detectron2's metrics.

    A class is *seen* if its name or one of its synonyms is in the training vocabulary, in singular or plural. mIoU,
    fwIoU, mACC and pACC equal those of :class:`detectron2.evaluation.SemSegEvaluator` on the same predictions. Boundary
    IoU is left out, because Detectron2 computes it from differences of label values, which merges some classes.

    The main process writes these files if ``output_dir`` is given:

    - ``<output_dir>/evaluation/<dataset_name>.json``: all scores, with 95 % intervals over the images, the seen and
      unseen classes with the names that were matched, and the settings;
    - ``<output_dir>/evaluation/<dataset_name>_confusion.png``: the confusion matrix;
    - ``<output_dir>/evaluation/<dataset_name>/``: the table of the classes (``classes.md``, ``.tex``, ``.csv``) and the
      counts of each image (``images.json``), with which ``sgovss compare`` compares two runs;
    - ``<output_dir>/evaluation/<dataset_name>/sem_seg_predictions.json``, with ``save_predictions``: run-length masks
      in Detectron2's COCO format.

    Args:
        dataset_name: registered name of a dataset whose metadata has ``stuff_classes`` and ``ignore_label``.
        distributed: whether to gather the results of all processes.
        output_dir: the run's OUTPUT_DIR, or None to write nothing.
        vocabulary: the T test classes, in the order of the label ids.
        training_vocabulary: the training classes; None for a model that was not fine-tuned (all classes are unseen).
        seen: names of the seen classes, to be used instead of the comparison of the two vocabularies.
        sem_seg_loading_fn: maps a label path to a writable (H, W) integer array of ids 0..T-1 and ``ignore_label``.
        settings: settings of the evaluation to record in the JSON file (view, templates, precision, ...).
        save_predictions: whether to write the COCO JSON. It is large, and held in memory until it is written.

    Raises:
        InputError: the lengths of vocabulary and dataset differ, or ``seen`` has a name that is not in ``vocabulary``.
    """

    _contiguous_id_to_dataset_id: dict[int, int | None] | None
    _conf_matrix: np.ndarray
    _predictions: list[dict[str, Any]]

    def __init__(
        self,
        dataset_name: str,
        distributed: bool = True,
        output_dir: str | Path | None = None,
        *,
        vocabulary: Vocabulary,
        sem_seg_loading_fn: Callable[[str], np.ndarray],
        training_vocabulary: Vocabulary | None = None,
        seen: Sequence[str] | None = None,
        settings: Mapping[str, object] | None = None,
        save_predictions: bool = False,
    ) -> None:
        super().__init__(dataset_name, distributed, output_dir, sem_seg_loading_fn=sem_seg_loading_fn)
        if len(vocabulary) != self._num_classes:
            raise InputError(
                f"{dataset_name}: {self._num_classes} classes in the labels but {len(vocabulary)} in the test "
                "vocabulary; give one class (with synonyms) per label id"
            )
        self._compute_boundary_iou = False
        self._class_names = vocabulary.names
        # Detectron2 looks up every predicted id in this dict. Id T means "no class".
        ids = self._contiguous_id_to_dataset_id or {index: index for index in range(len(vocabulary))}
        self._contiguous_id_to_dataset_id = {**ids, len(vocabulary): None}
        self._training_vocabulary = training_vocabulary
        self._seen_override = seen
        self._seen = seen_flags(vocabulary, training_vocabulary, seen)
        compared = training_vocabulary if seen is None else None
        self._matches = [None if compared is None else compared.match(entry) for entry in vocabulary]
        self._settings = dict(settings or {})
        self._save_predictions = save_predictions
        self.reset()

    def reset(self) -> None:
        """Forget all predictions counted so far."""
        super().reset()
        self._counts: dict[str, np.ndarray] = {}

    def process(self, inputs: Iterable[Mapping], outputs: Iterable[Mapping]) -> None:
        """Count the pixels of a batch.

        Args:
            inputs: dicts with the image's ``file_name``.
            outputs: dicts with ``sem_seg``: (T, H, W) scores, or an (H, W) integer label map in which the
                ``ignore_label`` means "no class".

        Raises:
            InputError: label and prediction differ in size, or one of them has a value that is no class id. The message
                names the file.
        """
        for image, output in zip(inputs, outputs, strict=True):
            predicted = self._predicted_ids(output["sem_seg"], image["file_name"])
            truth = self._true_ids(image["file_name"], predicted.shape)
            matrix = metrics.confusion_matrix(predicted, truth, self._num_classes)
            self._conf_matrix += matrix
            self._counts[image["file_name"]] = metrics.class_counts(matrix)
            if self._save_predictions:
                self._predictions.extend(self.encode_json_sem_seg(predicted, image["file_name"]))

    def evaluate(self) -> OrderedDict[str, dict[str, float]] | None:
        """Compute the metrics and write the files.

        Returns:
            ``{"sem_seg": {name: float}}`` in percent, without undefined metrics; None in processes other than the main
            one.
        """
        if not self._gather():
            return None
        known = self._training_vocabulary
        report = Report(
            dataset=self._dataset_name,
            names=self._class_names,
            seen=self._seen,
            seen_override=self._seen_override,
            matches=self._matches,
            matrix=self._conf_matrix,
            counts=self._counts,
            training_names=None if known is None else known.names,
            settings=self._settings,
        )
        if self._output_dir:
            folder = Path(self._output_dir) / "evaluation"
            report.write(folder)
            if self._save_predictions:
                file = folder / self._dataset_name / "sem_seg_predictions.json"
                write_json_atomically(file, self._predictions, indent=None)
        logger.info("%s: %d images\n%s", self._dataset_name, len(self._counts), report.table())
        return OrderedDict(sem_seg=report.values())

    def encode_json_sem_seg(self, sem_seg: np.ndarray, input_file_name: str) -> list[dict]:
        """Encode an (H, W) label map as COCO segments, as Detectron2 does; pixels without a class get no segment."""
        segments = super().encode_json_sem_seg(sem_seg, input_file_name)
        return [segment for segment in segments if segment["category_id"] is not None]

    def _predicted_ids(self, sem_seg: torch.Tensor, file_name: str) -> np.ndarray:
        if sem_seg.ndim == 3:
            if len(sem_seg) != self._num_classes:
                raise InputError(
                    f"{file_name}: prediction has {len(sem_seg)} classes but {self._dataset_name} has "
                    f"{self._num_classes}; predict with the vocabulary of this test set"
                )
            return sem_seg.argmax(dim=0).cpu().numpy()
        ids = sem_seg.cpu().numpy().astype(np.int64)
        return self._checked(ids, f"{file_name}: prediction")

    def _true_ids(self, file_name: str, size: tuple[int, ...]) -> np.ndarray:
        path = self.input_file_to_gt_file[file_name]
        truth = self.sem_seg_loading_fn(path).astype(np.int64)
        if truth.shape != size:
            raise InputError(
                f"{path}: label is {_size(truth.shape)} but the prediction for {file_name} is {_size(size)}; "
                "image and label must have the same width and height"
            )
        return self._checked(truth, str(path))

    def _checked(self, ids: np.ndarray, source: str) -> np.ndarray:
        """Replace the ignore label by T, in place. Raise an InputError for other values that are no class id."""
        ids[ids == self._ignore_label] = self._num_classes
        stray = ids[(ids < 0) | (ids > self._num_classes)]
        if stray.size:
            raise InputError(
                f"{source}: value {stray[0]} ({stray.size} stray pixels) is neither a class id "
                f"(0 to {self._num_classes - 1}) nor the ignore label {self._ignore_label}; "
                "correct the label"
            )
        return ids

    def _gather(self) -> bool:
        """Sum the counts of all processes in the main process; return whether this is the main process."""
        if not self._distributed:
            return True
        comm.synchronize()
        parts = comm.gather((self._conf_matrix, self._counts, self._predictions))
        if not comm.is_main_process():
            return False
        matrices, counts, predictions = zip(*parts, strict=True)
        self._conf_matrix = np.sum(matrices, axis=0)
        self._counts = {name: each for part in counts for name, each in part.items()}
        self._predictions = list(itertools.chain(*predictions))
        return True


def seen_flags(
    vocabulary: Vocabulary, training_vocabulary: Vocabulary | None, override: Sequence[str] | None = None
) -> list[bool]:
    """Return for each class of a test vocabulary whether it counts as seen.

    Args:
        vocabulary: the T test classes.
        training_vocabulary: the training classes, or None if the model was not fine-tuned (no class is seen).
        override: names or synonyms of the seen classes, to be used instead of ``training_vocabulary``.

    Returns:
        T flags.

    Raises:
        InputError: ``override`` has a name that is not in the vocabulary.
    """
    if override is not None:
        named = vocabulary.named(override, "TEST.SEEN", "the test set")
        return [entry in named for entry in vocabulary]
    return [training_vocabulary is not None and training_vocabulary.knows(entry) for entry in vocabulary]


def _size(shape: Sequence[int]) -> str:
    """Format a shape as "width x height", the order in which image viewers show it."""
    return " x ".join(str(length) for length in reversed(shape))
