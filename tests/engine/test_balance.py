"""Balance of classes in a run: the labels are counted, and the loader and the loss follow."""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

import train_net
from sgovss.config import load_config
from sgovss.data import register_datasets
from sgovss.engine.balance import training_weights
from sgovss.engine.trainer import Trainer
from sgovss.errors import InputError
from tests.engine.training import CONFIG, options_of, output_of

KEYS = tuple(f"a_{number}" for number in range(8))
REPEATED = {"DATALOADER__SAMPLER_TRAIN": "RepeatFactorTrainingSampler", "DATALOADER__REPEAT_THRESHOLD": "0.5"}


@pytest.fixture
def options(run_options, write_fields):
    """Options of eight training images: river is on one of them, on a tenth of its pixels; field everywhere else."""
    folder = write_fields((*KEYS, "b_0"))
    for key in KEYS:
        labels = np.ones((24, 30), np.uint8)
        labels[:, : 3 * (key == "a_3")] = 2
        Image.new("RGB", (30, 24)).save(folder / "fields" / "images" / f"{key}.jpg")
        Image.fromarray(labels).save(folder / "fields" / "labels" / f"{key}.png")
    return run_options


def config(options, **changes):
    cfg = load_config("sgovss_tiny.yaml", options_of(options, **changes))
    register_datasets(cfg.DATASETS.SPECIFICATIONS)
    return cfg


def drawn(cfg, count: int = 400) -> Counter[str]:
    """How often each image is among the first ones that the loader gives."""
    batches = islice(Trainer.build_train_loader(cfg), count // cfg.SOLVER.IMS_PER_BATCH)
    return Counter(entry["file_name"].rsplit("/", 1)[1] for batch in batches for entry in batch)


def test_an_image_with_a_rare_class_is_repeated(options):
    small = {"INPUT__MIN_SIZE_TRAIN": "(24,)", "INPUT__CROP__SIZE": "[8,8]"}
    assert set(drawn(config(options, **small)).values()) == {50}
    found = drawn(config(options, **small, **REPEATED))
    # river is in an eighth of the images: a factor of the root of 0.5 / (1 / 8).
    assert found["a_3.jpg"] / found["a_0.jpg"] == pytest.approx(2.0, rel=0.1)


def test_the_weights_are_those_of_all_training_labels(options):
    weights = training_weights(config(options, MODEL__SGOVSS__CLASS_BALANCE="0.5"))
    river = 1 / 80
    raw = torch.tensor([1.0, (79.0) ** 0.5])
    torch.testing.assert_close(weights, raw / (1 - river + river * raw[1]))
    assert training_weights(config(options)) is None


def test_the_loss_of_the_trainer_has_them(options):
    output_of(options).mkdir()
    cfg = config(options, MODEL__SGOVSS__CLASS_BALANCE="0.5")
    assert torch.equal(Trainer(cfg)._trainer.model.objective.class_weights, training_weights(cfg))
    plain = config(options)
    assert Trainer(plain)._trainer.model.objective.class_weights is None


def test_a_run_with_both_says_what_it_does_and_resumes(options):
    changed = options_of(options, MODEL__SGOVSS__CLASS_BALANCE="1.0", **REPEATED)
    assert train_net.main([*CONFIG, *changed]) == 0
    log = (output_of(options) / "log.txt").read_text()
    assert re.search(r"weights of the classes in the loss: field 0\.9\d, river 8\.9\d", log)
    assert "images are repeated 1.12 times in the mean, 2.00 times at most" in log
    assert train_net.main([*CONFIG, "--resume", *options_of(changed, SOLVER__MAX_ITER=3)]) == 0


def test_labels_without_any_class_are_told(options, tmp_path):
    for key in KEYS:
        Image.new("L", (30, 24), 0).save(tmp_path / "fields" / "labels" / f"{key}.png")
    with pytest.raises(InputError, match="no pixel of fields_train has a label of a training class"):
        training_weights(config(options, MODEL__SGOVSS__CLASS_BALANCE="0.5"))
