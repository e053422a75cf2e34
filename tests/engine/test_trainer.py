"""What the trainer builds from the config."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sgovss.config import load_config
from sgovss.data import register_datasets
from sgovss.engine.trainer import Trainer, _settings


def test_learning_rates_and_weight_decay_of_the_config():
    model = nn.Module()
    model.image_encoder, model.head = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), nn.Linear(2, 2)
    model.frozen = nn.Linear(2, 2).requires_grad_(False)
    options = {
        "SOLVER.BASE_LR": 0.5, "MODEL.CLIP.LR_MULTIPLIER": 0.25, "SOLVER.WEIGHT_DECAY": 0.125,
        "SOLVER.WEIGHT_DECAY_NORM": 0.0625,
    }  # fmt: skip
    cfg = load_config("sgovss_tiny.yaml", [str(item) for pair in options.items() for item in pair])
    optimizer = Trainer.build_optimizer(cfg, model)
    assert isinstance(optimizer, torch.optim.AdamW)
    names = {parameter: name for name, parameter in model.named_parameters()}
    found = {
        names[parameter]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert set(found) == {name for name in names.values() if not name.startswith("frozen")}
    assert found["head.weight"] == (0.5, 0.125)
    assert found["image_encoder.0.weight"] == (0.125, 0.125)
    assert found["image_encoder.1.weight"] == (0.125, 0.0625)


@pytest.mark.parametrize(("given", "seen"), [("()", None), ("('road','ship')", ("road", "ship"))])
def test_the_evaluator_gets_the_vocabularies_and_seen_classes_of_the_config(monkeypatch, given, seen):
    monkeypatch.setattr("sgovss.engine.trainer.OpenVocabularyEvaluator", lambda name, **arguments: arguments)
    register_datasets(())
    cfg = load_config("sgovss_tiny.yaml", ["TEST.SEEN", given, "OUTPUT_DIR", "somewhere"])
    arguments = Trainer.build_evaluator(cfg, "generated_scenes_test")
    assert (arguments["seen"], arguments["output_dir"]) == (seen, "somewhere")
    assert not arguments["save_predictions"] and arguments["settings"]["synonyms"] is True
    cfg.TEST.SAVE_PREDICTIONS, cfg.MODEL.CLIP.SYNONYMS = True, False
    changed = Trainer.build_evaluator(cfg, "generated_scenes_test")
    assert changed["save_predictions"] and changed["settings"]["synonyms"] is False
    tested, trained_on = (arguments[key].names for key in ("vocabulary", "training_vocabulary"))
    assert set(tested) - set(trained_on) == set(cfg.DATASETS.UNSEEN)


@torch.no_grad()
def test_evaluation_asks_for_labels_and_gives_the_results_of_scores(run_options):
    cfg = load_config("sgovss_tiny.yaml", [*run_options, "DATALOADER.NUM_WORKERS", "0"])
    register_datasets(cfg.DATASETS.SPECIFICATIONS)
    model = Trainer.build_model(cfg).eval()
    by_labels, by_scores = (Trainer.build_evaluator(cfg, "fields_test") for _ in range(2))
    for evaluator in (by_labels, by_scores):
        evaluator.reset()
    for batch in Trainer.build_test_loader(cfg, "fields_test"):
        labels = model(batch)
        assert labels[0]["sem_seg"].shape == (24, 32)
        by_labels.process(batch, labels)
        for entry in batch:
            del entry["labels_only"]
        scores = model(batch)
        assert scores[0]["sem_seg"].shape == (3, 24, 32)
        by_scores.process(batch, scores)
    assert by_labels.evaluate() == by_scores.evaluate()


def test_the_settings_of_an_evaluation_say_whether_its_views_antialias():
    for name, antialias in (("sgovss_vitb16_384.yaml", True), ("protocols/ovrs_dlrsd.yaml", False)):
        assert _settings(load_config(name))["view"]["antialias"] is antialias
