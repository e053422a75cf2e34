"""One test image with the predictions of every variant of an ablation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog

from research.ablation.protocol import Task
from sgovss.data.labels import load_labels, read_rgb
from sgovss.data.registration import dataset_metadata, training_vocabulary
from sgovss.errors import InputError
from sgovss.evaluation.pictures import draw_comparison
from sgovss.inference.predictor import Predictor


def is_generated(dataset: str) -> bool:
    """Whether a dataset has synthetic images, which may be published."""
    return dataset_metadata(dataset).specification.generator is not None


def draw_overlays(
    task: Task, cfg: CfgNode, models: Mapping[str, tuple[Mapping[str, str], Path | None]], number: int, path: Path
) -> None:
    """Write a PNG of one test image, its ground truth and the prediction of each model.

    Args:
        task: the task. The image is taken from the first dataset that it reports; its datasets must be registered.
        cfg: config with the training datasets and the unseen classes.
        models: title -> config options and checkpoint; the checkpoint is None for the model before training.
        number: number of the image in the dataset.
        path: file to write.

    Raises:
        InputError: there is no such image, or a checkpoint is missing or belongs to another model.
    """
    dataset = task.shown
    records, known = DatasetCatalog.get(dataset), dataset_metadata(dataset)
    if not 0 <= number < len(records):
        raise InputError(f"--image: {dataset} has images 0 to {len(records) - 1}, not {number}")
    image = read_rgb(records[number]["file_name"])
    labels = {"ground truth": load_labels(records[number]["sem_seg_file_name"], known.label_map)}
    for title, (options, weights) in models.items():
        predict = Predictor(task.config, weights, tuple(word for pair in options.items() for word in pair))
        labels[title] = predict(image, known.vocabulary).labels
    trained = training_vocabulary(cfg.DATASETS.TRAIN, cfg.DATASETS.UNSEEN)
    draw_comparison(image, labels, known.vocabulary, [trained.knows(entry) for entry in known.vocabulary], path)
