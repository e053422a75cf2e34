"""All cases, in the order of the table in docs/robustness.md."""

from __future__ import annotations

from tests.robustness.case import Case
from tests.robustness.cases import configs, datasets, images, labels, outputs, weights, words

GROUPS: dict[str, list[Case]] = {
    "Configs": configs.CASES,
    "Weights": weights.CASES,
    "Datasets and archives": datasets.CASES,
    "Labels, and images to train on": labels.CASES,
    "Photographs and scenes": images.CASES,
    "Words": words.CASES,
    "Outputs": outputs.CASES,
}
CASES: list[Case] = [case for group in GROUPS.values() for case in group]
