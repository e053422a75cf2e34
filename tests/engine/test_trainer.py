"""What the trainer builds from the config."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import pytest
import torch
from detectron2.utils.env import seed_all_rng
from torch import nn
from torch.utils.data._utils.pin_memory import pin_memory

from sgovss.config import load_config
from sgovss.data import register_datasets
from sgovss.engine.checkpoint import SGOVSSCheckpointer
from sgovss.engine.stream import TrainingBatch
from sgovss.engine.trainer import Trainer, _settings
from sgovss.vocabulary import Vocabulary
from tests.engine.training import metrics_of, options_of


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


def test_batches_are_pinned_but_for_what_is_no_tensor(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor + 1)  # without a device there is none
    vocabulary = Vocabulary.from_string("road, tree")
    batch = TrainingBatch([{"image": torch.zeros(3, 2, 2), "file_name": "a.png", "vocabulary": vocabulary}])
    (pinned,) = pin_memory(batch)
    assert pinned["image"].eq(1).all() and pinned["file_name"] == "a.png"
    assert pinned["vocabulary"] is vocabulary


def test_the_training_loader_yields_batches_that_can_be_pinned(run_options):
    cfg = load_config("sgovss_tiny.yaml", run_options)
    register_datasets(cfg.DATASETS.SPECIFICATIONS)
    loader = Trainer.build_train_loader(cfg)
    assert not loader.pin_memory
    batch = next(iter(loader))
    assert isinstance(batch, TrainingBatch) and len(batch) == 2
    assert batch[0]["sem_seg"].dtype == torch.uint8


def test_training_and_its_evaluation_choose_their_own_kernels(run_options, monkeypatch):
    """Training may use TF32 and time its kernels; the evaluation within it does as TEST.TF32 says."""
    asked = []

    @contextlib.contextmanager
    def kernels(device, *, tf32, benchmark):
        asked.append((tf32, benchmark))
        yield
        asked.append("end")

    for module in ("sgovss.engine.trainer", "sgovss.modeling.meta_arch"):
        monkeypatch.setattr(f"{module}.cuda_kernels", kernels)
    cfg = load_config("sgovss_tiny.yaml", [*run_options, "SOLVER.MAX_ITER", "1"])
    assert cfg.CUDNN_BENCHMARK
    register_datasets(cfg.DATASETS.SPECIFICATIONS)
    Path(cfg.OUTPUT_DIR).mkdir()
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=False)
    trainer.train()
    assert asked[0] == (True, True) and asked[-1] == "end"
    assert asked[1:-1] == [(False, False), "end"] * (len(asked[1:-1]) // 2) and len(asked) > 4


def late_trainer(run_options: list[str], folder: Path, late: int) -> Trainer:
    """A trainer that reads the numbers of a step so many steps late, as on CUDA."""
    cfg = load_config("sgovss_tiny.yaml", options_of(run_options, SOLVER__CHECKPOINT_PERIOD=3, SOLVER__MAX_ITER=5))
    cfg.OUTPUT_DIR, cfg.DATASETS.TEST = str(folder), ()
    register_datasets(cfg.DATASETS.SPECIFICATIONS)
    folder.mkdir()
    seed_all_rng(cfg.SEED)
    trainer = Trainer(cfg)
    trainer._trainer.late = late
    trainer.resume_or_load(resume=False)
    return trainer


def test_metrics_and_checkpoints_are_complete_although_numbers_are_read_late(run_options, tmp_path, monkeypatch):
    saved = []

    def save(checkpointer, name, **_):
        guard = checkpointer.checkpointables["trainer"].state_dict()["_trainer"]["guard"]
        lines = metrics_of(Path(checkpointer.save_dir))
        saved.append((name, len(lines), "total_loss" in lines[-1], guard["skipped"]))

    monkeypatch.setattr(SGOVSSCheckpointer, "save", save)
    for late in (0, 1):
        late_trainer(run_options, tmp_path / f"late_{late}", late).train()
    assert metrics_of(tmp_path / "late_0") == metrics_of(tmp_path / "late_1")
    assert [line["iteration"] for line in metrics_of(tmp_path / "late_1")] == list(range(5))
    assert saved == [("model_0000002", 3, True, 0), ("model_final", 5, True, 0)] * 2


def test_a_signal_ends_a_late_training_with_complete_metrics(run_options, tmp_path):
    trainer = late_trainer(run_options, tmp_path / "late", 1)
    trainer.interruption.listener.received = signal.SIGTERM
    with pytest.raises(SystemExit) as caught:
        trainer.train()
    assert caught.value.code == 128 + signal.SIGTERM
    # The number of the signal is exchanged at the first step, and read after the second one.
    assert (tmp_path / "late" / "last_checkpoint").read_text() == "model_0000001.pth"
    lines = metrics_of(tmp_path / "late")
    assert [line["iteration"] for line in lines] == [0, 1] and all("total_loss" in line for line in lines)


def test_metrics_tell_the_ratio_of_the_gradients_at_the_image_encoder(run_options, tmp_path):
    cfg = load_config("sgovss_tiny.yaml", options_of(run_options, SOLVER__MAX_ITER=2))
    cfg.OUTPUT_DIR, cfg.DATASETS.TEST = str(tmp_path / "run"), ()
    register_datasets(cfg.DATASETS.SPECIFICATIONS)
    (tmp_path / "run").mkdir()
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=False)
    model = trainer.checkpointer.model
    assert {id(each) for each in trainer._trainer.encoder} == {id(each) for each in model.image_encoder.parameters()}
    trainer.train()
    lines = metrics_of(tmp_path / "run")
    assert [line.get("gradient_ratio") for line in lines] == [0.0, None]  # both encoders are equal at step 0
