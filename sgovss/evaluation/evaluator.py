"""Detectron2's semantic segmentation evaluator, for vocabularies of which training saw only a part."""

from __future__ import annotations

import itertools
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from detectron2.evaluation import SemSegEvaluator
from detectron2.utils import comm
from tabulate import tabulate

from sgovss.errors import InputError
from sgovss.evaluation import metrics
from sgovss.evaluation.pictures import draw_confusion
from sgovss.files import write_json_atomically
from sgovss.vocabulary import ClassEntry, Vocabulary

logger = logging.getLogger(__name__)


class OpenVocabularyEvaluator(SemSegEvaluator):
    """Scores predictions on one test set; adds seen, unseen and harmonic-mean mIoU to Detectron2's metrics.

    A class is *seen* if its name or one of its synonyms is in the training vocabulary. mIoU, fwIoU, mACC and pACC
    equal those of :class:`detectron2.evaluation.SemSegEvaluator` on the same predictions. Boundary IoU is left out:
    Detectron2 takes it from differences of label values, which loses classes.

    Written by the main process, if ``output_dir`` is given:

    - ``<output_dir>/evaluation/<dataset_name>.json``: every number, with its 95 % interval over images, the split, the
      settings;
    - ``<output_dir>/evaluation/<dataset_name>_confusion.png``;
    - ``<output_dir>/evaluation/<dataset_name>/sem_seg_predictions.json``: COCO run-length masks, as Detectron2's.

    Args:
        dataset_name: registered name; its metadata has ``stuff_classes`` and ``ignore_label``.
        distributed: gather the results of all processes, or keep to this one.
        output_dir: the run's OUTPUT_DIR, or None to write nothing.
        vocabulary: the test classes, in the order of the label ids.
        training_vocabulary: what training saw; None for a model that was not fine-tuned (all classes are unseen).
        seen: names of the seen classes, overriding the comparison of the two vocabularies.
        sem_seg_loading_fn: label path -> (H, W) writable integer array of ids 0..T-1 and ``ignore_label``.
        settings: what else the JSON should say of this evaluation (views, templates, precision, ...).
        save_predictions: write the COCO JSON, which is large.

    Raises:
        InputError: the vocabulary has another length than the data set, or ``seen`` names no class of it.
    """

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
        save_predictions: bool = True,
    ) -> None:
        super().__init__(dataset_name, distributed, output_dir, sem_seg_loading_fn=sem_seg_loading_fn)
        if len(vocabulary) != self._num_classes:
            raise InputError(
                f"{dataset_name}: {self._num_classes} classes in the labels but {len(vocabulary)} in the test "
                "vocabulary; give one class (with synonyms) per label id"
            )
        self._compute_boundary_iou = False
        self._class_names = vocabulary.names
        # Detectron2 looks every predicted id up here; T stands for "no class" in our id maps.
        ids = self._contiguous_id_to_dataset_id or {index: index for index in range(len(vocabulary))}
        self._contiguous_id_to_dataset_id = {**ids, len(vocabulary): None}
        self._training_vocabulary = training_vocabulary
        self._seen = seen_flags(vocabulary, training_vocabulary, seen)
        self._settings = dict(settings or {})
        self._save_predictions = save_predictions
        self.reset()

    def reset(self) -> None:
        super().reset()
        self._counts: dict[str, np.ndarray] = {}

    def process(self, inputs: Iterable[Mapping], outputs: Iterable[Mapping]) -> None:
        """Count the pixels of a batch.

        Args:
            inputs: dicts with the image's ``file_name``.
            outputs: dicts with ``sem_seg``: (T, H, W) scores, or an (H, W) integer map of class ids in which the
                ``ignore_label`` stands for "no class".

        Raises:
            InputError: label and prediction differ in size, or the label holds other values than ids; names the file.
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
        """Metrics in percent as ``{"sem_seg": {name: float}}``, undefined ones left out; None on other processes."""
        if not self._gather():
            return None
        summary = metrics.summarize(self._conf_matrix, self._seen)
        rows = self._class_rows()
        if self._output_dir:
            self._write(summary, rows)
        logger.info("%s: %d images\n%s", self._dataset_name, len(self._counts), _table(summary, rows))
        values = dict(summary)
        values.update({f"IoU-{row['name']}": row["iou"] for row in rows})
        values.update({f"ACC-{row['name']}": row["recall"] for row in rows})
        return OrderedDict(sem_seg={name: value for name, value in values.items() if value is not None})

    def encode_json_sem_seg(self, sem_seg: np.ndarray, input_file_name: str) -> list[dict]:
        """COCO segments of an (H, W) id map, as Detectron2 encodes them; pixels without a class have no segment."""
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
        """The ids with T in place of the ignore label; a stray value would be counted in a wrong cell."""
        ids[ids == self._ignore_label] = self._num_classes
        stray = ids[(ids < 0) | (ids > self._num_classes)]
        if stray.size:
            raise InputError(
                f"{source}: value {stray[0]} ({stray.size} stray pixels) is neither a class id "
                f"(0 to {self._num_classes - 1}) nor the ignore label {self._ignore_label}"
            )
        return ids

    def _gather(self) -> bool:
        """Sum the counts of all processes on the main one; whether this is that process."""
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

    def _class_rows(self) -> list[dict[str, object]]:
        scores = metrics.class_scores(self._conf_matrix)
        return [
            {
                "name": name,
                "iou": metrics.plain(scores.iou[index]),
                "precision": metrics.plain(scores.precision[index]),
                "recall": metrics.plain(scores.recall[index]),
                "seen": self._seen[index],
                "pixels": int(scores.pixels[index]),
            }
            for index, name in enumerate(self._class_names)
        ]

    def _intervals(self) -> dict[str, tuple[float, float] | None]:
        """Of each headline number over the images, in an order that does not depend on who saw which."""
        counts = [self._counts[name] for name in sorted(self._counts)]
        return metrics.bootstrap_intervals(np.reshape(counts, (len(counts), 3, self._num_classes)), self._seen)

    def _write(self, summary: Mapping[str, float | None], rows: list[dict[str, object]]) -> None:
        folder = Path(self._output_dir) / "evaluation"
        known = self._training_vocabulary
        content = {
            "dataset": self._dataset_name,
            "images": len(self._counts),
            **summary,
            "interval_95": self._intervals(),
            "per_class": rows,
            "classes": self._class_names,
            "seen": [name for name, seen in zip(self._class_names, self._seen, strict=True) if seen],
            "unseen": [name for name, seen in zip(self._class_names, self._seen, strict=True) if not seen],
            "training_vocabulary": None if known is None else known.names,
            "settings": self._settings,
        }
        write_json_atomically(folder / f"{self._dataset_name}.json", content)
        if self._save_predictions:
            file = folder / self._dataset_name / "sem_seg_predictions.json"
            write_json_atomically(file, self._predictions, indent=None)
        draw_confusion(
            self._conf_matrix,
            self._class_names,
            self._seen,
            f"{self._dataset_name}: mIoU {_percent(summary['mIoU'])}",
            folder / f"{self._dataset_name}_confusion.png",
        )


def seen_flags(
    vocabulary: Vocabulary, training_vocabulary: Vocabulary | None, override: Sequence[str] | None = None
) -> list[bool]:
    """Which classes of a test vocabulary count as seen.

    Args:
        training_vocabulary: the classes of training, or None if there was none (nothing is seen).
        override: names (or synonyms) of the seen classes, to be used instead of the comparison.

    Raises:
        InputError: an override that names no class of the vocabulary.
    """
    if override is not None:
        known = [ClassEntry(name) for name in override]
        if stray := [entry.name for entry in known if not vocabulary.knows(entry)]:
            raise InputError(
                f"seen classes: '{stray[0]}' is not in the test vocabulary ({', '.join(vocabulary.names)}); "
                "take names from it"
            )
        training_vocabulary = Vocabulary(known, "seen classes") if known else None
    return [training_vocabulary is not None and training_vocabulary.knows(entry) for entry in vocabulary]


def _table(summary: Mapping[str, float | None], rows: list[dict[str, object]]) -> str:
    body = [
        [row["name"], "seen" if row["seen"] else "unseen"]
        + [_percent(row[key]) for key in ("iou", "precision", "recall")]
        + [f"{row['pixels']:,}"]
        for row in rows
    ]
    classes = tabulate(
        body,
        headers=["class", "", "IoU", "precision", "recall", "pixels"],
        disable_numparse=True,
        colalign=("left", "left", "right", "right", "right", "right"),
    )
    headline = tabulate([[_percent(value) for value in summary.values()]], headers=list(summary), disable_numparse=True)
    return f"{classes}\n\n{headline}"


def _percent(value: object) -> str:
    return "-" if value is None else f"{value:.2f}"


def _size(shape: Sequence[int]) -> str:
    """Width before height, as image viewers show it."""
    return " x ".join(str(length) for length in reversed(shape))
