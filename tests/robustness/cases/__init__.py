"""All cases, in the order of the table in docs/robustness.md."""

from __future__ import annotations

from tests.robustness.case import Case
from tests.robustness.cases import configs, datasets, images, labels, outputs, vocabularies, weights

GROUPS: dict[str, list[Case]] = {
    "Configs": configs.CASES,
    "Weights": weights.CASES,
    "Datasets and archives": datasets.CASES,
    "Labels and training images": labels.CASES,
    "Images and rasters": images.CASES,
    "Vocabularies": vocabularies.CASES,
    "Output folders": outputs.CASES,
}
CASES: list[Case] = [case for group in GROUPS.values() for case in group]
