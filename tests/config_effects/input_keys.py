"""The keys of INPUT, seen at what the mapper makes of an image of 24 x 32 pixels."""

from __future__ import annotations

import torch
from detectron2.data import DatasetCatalog
from detectron2.utils.env import seed_all_rng

from sgovss.data import register_datasets
from sgovss.data.mapper import SegmentationMapper
from tests.config_effects.row import Case, Row, refusal
from tests.config_effects.scenes import windows

PLAIN = (
    "INPUT.CROP.ENABLED", False, "INPUT.ANY_ORIENTATION", False, "INPUT.COLOR_AUG_SSD", False,
    "INPUT.MIN_SIZE_TRAIN", (24,),
)  # fmt: skip


def samples(case: Case, count: int = 1, is_train: bool = True) -> list[dict]:
    cfg = Case((*case.fields, *case.options), case.folder, ()).cfg
    if "fields_train" not in DatasetCatalog.list():
        register_datasets(cfg.DATASETS.SPECIFICATIONS)
    mapper = SegmentationMapper(cfg, is_train=is_train)
    seed_all_rng(0)
    record = DatasetCatalog.get("fields_train" if is_train else "fields_test")[0]
    return [mapper(record) for _ in range(count)]


def sizes(case: Case) -> set[tuple[int, int]]:
    return {tuple(sample["sem_seg"].shape) for sample in samples(case, 20)}


def test_size(case: Case) -> tuple[int, ...]:
    return tuple(samples(case, is_train=False)[0]["image"].shape[1:])


test_size.__test__ = False


def colours(case: Case) -> int:
    """The number of pixel values that no image without colour jitter has."""
    plain = Case((*case.options, "INPUT.COLOR_AUG_SSD", "False"), case.folder, case.fields)
    usual, found = (torch.cat([sample["image"].unique() for sample in samples(each, 5)]) for each in (plain, case))
    return len(set(found.tolist()) - set(usual.tolist()))


def accepted_area(case: Case) -> list[float]:
    """The largest share of one class in a crop that is not drawn again."""
    samples(case)  # registers the dataset
    cfg = Case((*case.fields, *case.options), case.folder, ()).cfg
    steps = SegmentationMapper(cfg, is_train=True).augmentations.augs
    return [step.single_category_max_area for step in steps if hasattr(step, "single_category_max_area")]


CROP = ("INPUT.CROP.ENABLED", True, "INPUT.CROP.SIZE", [16, 20])

ROWS = {
    "INPUT.FORMAT": Row("BGR", refusal(lambda case: case.cfg), "INPUT.FORMAT"),
    "INPUT.GROUND_SAMPLE_DISTANCE": Row(0.6, lambda case: windows(case)[0][2:], (64, 96)),
    "INPUT.MIN_SIZE_TRAIN": Row((48,), sizes, {(48, 64)}, PLAIN),
    "INPUT.MIN_SIZE_TRAIN_SAMPLING": Row(
        "range", lambda case: len(sizes(case)) > 2, True, (*PLAIN, "INPUT.MIN_SIZE_TRAIN", (24, 48))
    ),
    "INPUT.MAX_SIZE_TRAIN": Row(16, sizes, {(12, 16)}, PLAIN),
    "INPUT.CROP.ENABLED": Row(True, sizes, {(16, 20)}, (*PLAIN, "INPUT.CROP.SIZE", [16, 20])),
    "INPUT.CROP.SIZE": Row([10, 12], sizes, {(10, 12)}, (*PLAIN, *CROP)),
    "INPUT.CROP.TYPE": Row("relative", refusal(sizes), "INPUT.CROP", (*PLAIN, *CROP)),
    "INPUT.CROP.SINGLE_CATEGORY_MAX_AREA": Row(0.75, accepted_area, [0.75], (*PLAIN, *CROP)),
    "INPUT.ANY_ORIENTATION": Row(True, sizes, {(24, 32), (32, 24)}, PLAIN),
    "INPUT.COLOR_AUG_SSD": Row(True, lambda case: colours(case) > 5, True, PLAIN),
    "INPUT.MIN_SIZE_TEST": Row(48, test_size, (48, 64)),
    "INPUT.MAX_SIZE_TEST": Row(40, test_size, (30, 40), ("INPUT.MIN_SIZE_TEST", 48)),
}

UNREAD = "INPUT.RANDOM_FLIP INPUT.MASK_FORMAT"
