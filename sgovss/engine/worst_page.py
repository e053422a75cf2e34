"""The page with the worst images of an evaluation: the model segments them once more."""

from __future__ import annotations

from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.utils.env import seed_all_rng

from sgovss.data.labels import load_labels, read_rgb
from sgovss.data.mapper import SegmentationMapper
from sgovss.data.registration import dataset_metadata
from sgovss.engine.run import evaluated_model
from sgovss.evaluation.image_counts import FILE, below_common_folder, read_counts
from sgovss.evaluation.worst_images import Triple, write_page


def write_worst_pages(cfg: CfgNode, evaluation: Path, number: int) -> list[Path]:
    """Write ``<dataset>_worst.html`` beside the results of each test set.

    Args:
        cfg: the config of the evaluation; MODEL.WEIGHTS is the checkpoint that was evaluated.
        evaluation: the folder with the results.
        number: images for each class, at most.

    Returns:
        the files.

    Raises:
        InputError: the counts or images cannot be read, or the folder cannot be written to.
    """
    # As for the evaluation: CLIP weights that are random are drawn from the seed.
    seed_all_rng(max(cfg.SEED, 0))
    model = evaluated_model(cfg).eval()
    mapper = SegmentationMapper(cfg, is_train=False, labels_only=True)
    written = []
    for name in cfg.DATASETS.TEST:
        metadata = dataset_metadata(name)
        records = below_common_folder({record["file_name"]: record for record in DatasetCatalog.get(name)})

        def load(image: str, records=records, labels=metadata.label_map) -> Triple:
            record = records[image]
            with torch.no_grad():
                (output,) = model([mapper(record)])
            truth = load_labels(record["sem_seg_file_name"], labels)
            return Triple(read_rgb(record["file_name"]), truth, output["sem_seg"].cpu().numpy())

        written.append(evaluation / f"{name}_worst.html")
        write_page(written[-1], read_counts(evaluation / name / FILE), number, metadata.vocabulary, load)
    return written
