"""Tests of ``sgovss train``: its outputs, resuming, and the messages about wrong input."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from PIL import Image

import train_net
from sgovss.config import load_config
from sgovss.engine import preparation
from sgovss.modeling.checkpoint import read_checkpoint
from tests.conftest import options_below
from tests.engine.training import CONFIG, assert_same_training, metrics_of, options_of, output_of


def run_command(arguments: list[str], checkout: Path) -> subprocess.CompletedProcess:
    """Run train_net.py as a process in another folder."""
    return subprocess.run(
        [sys.executable, str(checkout / "train_net.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=Path(arguments[-1]).parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory, checkout) -> tuple[list[str], subprocess.CompletedProcess]:
    """Options and result of a finished run of two steps. Tests write to other folders."""
    options = options_below(tmp_path_factory.mktemp("finished"))
    return options, run_command([*CONFIG, *options], checkout)


def test_the_command_trains_evaluates_and_writes_what_it_should(finished):
    options, result = finished
    assert result.returncode == 0, result.stderr[-2000:]
    assert "FutureWarning" not in result.stderr
    output = output_of(options)
    scores = json.loads((output / "evaluation" / "fields_test.json").read_text())
    assert scores["seen"] == ["field", "river"]
    assert scores["unseen"] == ["hedge"]
    for key in ("mIoU", "mIoU_present_or_predicted", "fwIoU", "mACC", "pACC", "per_class"):
        assert scores[key] is not None
    assert {"seen_mIoU", "unseen_mIoU", "harmonic_mIoU"} <= scores.keys()
    with Image.open(output / "evaluation" / "fields_test_confusion.png") as picture:
        assert min(picture.size) > 200
    log = (output / "log.txt").read_text()
    assert "mIoU" in log and "--resume" not in log
    assert list(output.glob("events.out.tfevents*"))
    training = read_checkpoint(output / "model_final.pth")
    settings = yaml.safe_load(training["config"])["MODEL"]
    assert (settings["CLIP"]["ACTIVATION"], settings["PIXEL_MEAN"], settings["PIXEL_STD"]) == (
        "gelu",
        [127.0] * 3,
        [128.0] * 3,
    )
    inference = read_checkpoint(output / "model_inference.pth")
    assert not [key for key in (*training["model"], *inference["model"]) if "frozen" in key]
    assert any(key.startswith("text_embedder.") for key in inference["model"])
    assert not any(key.startswith("text_embedder.") for key in training["model"])


def test_a_run_that_lost_its_last_steps_ends_as_the_uninterrupted_one(run_options, tmp_path):
    changes = {"SOLVER__MAX_ITER": 4, "SOLVER__WARMUP_ITERS": 0, "SOLVER__CHECKPOINT_PERIOD": 2}
    options = options_of(run_options, **changes, TEST__EVAL_PERIOD=2)
    whole, folder = output_of(run_options), tmp_path / "again"
    assert train_net.main([*CONFIG, *options]) == 0
    assert [line["iteration"] for line in metrics_of(whole)] == [0, 1, 2, 3, 4]
    assert {"loss_pixel", "sem_seg/mIoU"} <= metrics_of(whole)[2].keys()
    shutil.copytree(whole, folder)
    for name in ("model_0000003.pth", "model_final.pth", "model_inference.pth"):
        (folder / name).unlink()
    (folder / "last_checkpoint").write_text("model_0000001.pth")
    assert train_net.main([*CONFIG, "--resume", *options_of(options, OUTPUT_DIR=folder)]) == 0
    assert_same_training(whole, folder)
    assert json.loads((folder / "environment.json").read_text())["seed"] == 1


def test_a_run_killed_between_its_last_two_files_gets_the_last(finished, tmp_path):
    folder = shutil.copytree(output_of(finished[0]), tmp_path / "killed")
    (folder / "model_final.pth").rename(folder / "model_0000001.pth")
    (folder / "last_checkpoint").write_text("model_0000001.pth")
    before = metrics_of(folder)
    assert train_net.main([*CONFIG, "--resume", *options_of(finished[0], OUTPUT_DIR=folder)]) == 0
    assert read_checkpoint(folder / "model_final.pth")["trainer"]["iteration"] == 1
    assert metrics_of(folder) == before
    assert "nothing left to train" in (folder / "log.txt").read_text()


@pytest.mark.slow
def test_a_longer_run_goes_on_from_a_finished_one(run_options, tmp_path):
    """With a constant learning rate the result equals that of one long run; research.ablation relies on it."""
    whole = tmp_path / "whole"
    constant = {"SOLVER__LR_SCHEDULER_NAME": "WarmupMultiStepLR", "SOLVER__STEPS": "()", "SOLVER__WARMUP_ITERS": 0}
    options = options_of(run_options, **constant, DATASETS__TEST="()")
    assert train_net.main([*CONFIG, *options_of(options, SOLVER__MAX_ITER=2, OUTPUT_DIR=whole)]) == 0
    for steps in (1, 2):
        assert train_net.main([*CONFIG, "--resume", *options_of(options, SOLVER__MAX_ITER=steps)]) == 0
    assert_same_training(whole, output_of(run_options))


def test_weights_that_run_away_end_training_with_a_diagnosis(run_options, capsys):
    options = {"SOLVER__BASE_LR": "1e30", "SOLVER__WARMUP_ITERS": 0, "SOLVER__MAX_ITER": 9}
    assert train_net.main([*CONFIG, *options_of(run_options, **options, SOLVER__NONFINITE_PATIENCE=3)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(
        r"^error: training stopped at step 3: in 3 steps .*loss_pixel nan.*a_[01]\.jpg.*rate 7.5e\+29", error
    )
    assert [line["skipped_steps"] for line in metrics_of(output_of(run_options))] == [0, 1, 2]


def test_evaluation_only_scores_a_checkpoint_of_either_kind(finished, tmp_path, capsys):
    options, _ = finished
    output = output_of(options)
    trained = json.loads((output / "evaluation" / "fields_test.json").read_text())
    for weights in ("model_final.pth", "model_inference.pth"):
        changed = options_of(options, MODEL__WEIGHTS=output / weights, OUTPUT_DIR=tmp_path / weights[:-4])
        assert train_net.main([*CONFIG, "--eval-only", *changed]) == 0
        scores = json.loads((tmp_path / weights[:-4] / "evaluation" / "fields_test.json").read_text())
        assert scores["mIoU"] == pytest.approx(trained["mIoU"], abs=1e-6)
    # Another seed gives other random weights of CLIP; the checkpoint must restore its own.
    changed = options_of(options, MODEL__WEIGHTS=output / "model_final.pth", OUTPUT_DIR=tmp_path / "seed", SEED=7)
    assert train_net.main([*CONFIG, "--eval-only", *changed]) == 2
    assert re.search(r"was trained from 'random' \(SHA-256", capsys.readouterr().err)


def test_training_does_not_start_from_a_checkpoint_for_inference(finished, tmp_path, capsys):
    options, _ = finished
    output = output_of(options)
    started = options_of(options, MODEL__WEIGHTS=output / "model_final.pth", OUTPUT_DIR=tmp_path / "again")
    assert train_net.main([*CONFIG, *started]) == 0
    capsys.readouterr()
    for flags in ([], ["--resume"]):
        refused = options_of(options, MODEL__WEIGHTS=output / "model_inference.pth", OUTPUT_DIR=tmp_path / "no")
        assert train_net.main([*CONFIG, *flags, *refused]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert re.search(
            r"error: MODEL\.WEIGHTS: .*model_inference\.pth is a checkpoint for inference; .*model_final", line
        )
    assert not (tmp_path / "no").exists()


def test_images_without_labels_are_trained_on_if_there_is_a_twin(run_options, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (40, 30), (90, 80, 70)).save(folder / "one.png")
    options = options_of(run_options, DATASETS__UNLABELLED=f"['{folder}']", DATASETS__UNLABELLED_SHARE="0.5")
    options = options_of(options, DATASETS__TEST="()")
    assert train_net.main([*CONFIG, *options]) == 0
    assert "2 images with labels, 1 without" in (output_of(run_options) / "log.txt").read_text()
    shutil.rmtree(folder)  # without a frozen encoder they are not needed
    plain = tmp_path / "plain"
    options = options_of(options, MODEL__SGOVSS__COMPENSATION__ENABLED="False", OUTPUT_DIR=plain)
    assert train_net.main([*CONFIG, *options]) == 0
    assert "images with labels" not in (plain / "log.txt").read_text()


def test_embedded_base_weights_are_recognised(run_options):
    embedded = options_of(run_options, MODEL__CLIP__WEIGHTS="embedded", SOLVER__MAX_ITER=1)
    assert train_net.main([*CONFIG, *embedded]) == 0
    output = output_of(run_options)
    changed = options_of(embedded, MODEL__WEIGHTS=output / "model_final.pth", OUTPUT_DIR=output / "again")
    assert train_net.main([*CONFIG, "--eval-only", *changed]) == 0
    first, second = (
        json.loads((folder / "evaluation" / "fields_test.json").read_text())["mIoU"]
        for folder in (output, output / "again")
    )
    assert first == pytest.approx(second, abs=1e-6)


def test_several_test_sets_each_with_its_own_vocabulary(run_options, fields, tmp_path):
    content = (tmp_path / "fields.yaml").read_text().replace("name: fields", "name: meadows").replace("river", "brook")
    other = tmp_path / "meadows.yaml"
    other.write_text(content.replace("title: Fields", "folder: fields\ntitle: Meadows"))
    changed = options_of(
        run_options,
        DATASETS__SPECIFICATIONS=f"('{tmp_path / 'fields.yaml'}','{other}')",
        DATASETS__TEST="('fields_test','meadows_test')",
        TEST__EVAL_PERIOD=1,
    )
    assert train_net.main([*CONFIG, *changed]) == 0
    folder = output_of(run_options) / "evaluation"
    vocabularies = [json.loads((folder / f"{name}_test.json").read_text())["classes"] for name in ("fields", "meadows")]
    assert vocabularies == [["field", "river", "hedge"], ["field", "brook", "hedge"]]


@pytest.mark.parametrize(
    "changes",
    [
        {"SOLVER__AMP__ENABLED": "True"},
        {"MODEL__SGOVSS__COMPENSATION__ENABLED": "False", "MODEL__SGOVSS__BIAS_GUIDANCE": "False"},
        {"TEST__SLIDING_WINDOW__ENABLED": "True", "TEST__AUG__ENABLED": "True", "TEST__AUG__MIN_SIZES": "(32,)"},
    ],
    ids=["bfloat16", "plain fine-tuning", "sliding window and augmentation"],
)
def test_variants_train_and_evaluate(run_options, changes):
    assert train_net.main([*CONFIG, *options_of(run_options, SOLVER__MAX_ITER=1, **changes)]) == 0
    assert (output_of(run_options) / "evaluation" / "fields_test.json").is_file()


def wrong_config(run_options, tmp_path):
    return options_of(run_options, MODEL__CLIP__NAMES="x"), "MODEL.CLIP.NAMES"


def wrong_type(run_options, tmp_path):
    return options_of(run_options, SOLVER__MAX_ITER="many"), "MAX_ITER"


def odd_options(run_options, tmp_path):
    return [*run_options, "MODEL.CLIP.NAME"], "pairs"


def missing_weights(run_options, tmp_path):
    return options_of(run_options, MODEL__WEIGHTS=tmp_path / "none.pth"), "none.pth"


def truncated_weights(run_options, tmp_path):
    path = tmp_path / "cut.pth"
    torch.save({"kind": "training", "config": "", "model": {"x": torch.zeros(5000)}}, path)
    path.write_bytes(path.read_bytes()[:3000])
    return options_of(run_options, MODEL__WEIGHTS=path), "damaged or cut short"


def foreign_weights(run_options, tmp_path):
    path = tmp_path / "foreign.pth"
    config = load_config("sgovss_tiny.yaml").dump()
    torch.save({"kind": "training", "config": config, "model": {"backbone.x": torch.zeros(5)}}, path)
    return options_of(run_options, MODEL__WEIGHTS=path), "tensors missing .*1 tensors left over .backbone.x."


def no_checkpoint(run_options, tmp_path):
    path = tmp_path / "other.pth"
    torch.save([1, 2], path)
    return options_of(run_options, MODEL__WEIGHTS=path), "not a checkpoint of sgovss"


def missing_clip_weights(run_options, tmp_path):
    return options_of(run_options, MODEL__CLIP__WEIGHTS=tmp_path / "clip.pt"), r"MODEL\.CLIP\.WEIGHTS.*clip\.pt"


def unknown_tag(run_options, tmp_path):
    return options_of(run_options, MODEL__CLIP__NAME="ViT-B-16", MODEL__CLIP__WEIGHTS="nonsense"), "tags for ViT-B-16"


def unknown_model(run_options, tmp_path):
    return options_of(run_options, MODEL__CLIP__NAME="ViT-Q"), "no model 'ViT-Q'"


def missing_root(run_options, tmp_path):
    return options_of(
        run_options, DATASETS__TRAIN="('dubai_mbrsc_train',)", DATASETS__UNSEEN="()"
    ), "DETECTRON2_DATASETS"


def unknown_dataset(run_options, tmp_path):
    return options_of(run_options, DATASETS__TEST="('field_test',)"), "'field_test' is not known"


def missing_label(run_options, tmp_path):
    (tmp_path / "fields" / "labels" / "a_1.png").unlink()
    return run_options, r"a_1\.jpg: has no label"


def sizes_differ(run_options, tmp_path):
    Image.new("L", (7, 5), 1).save(tmp_path / "fields" / "labels" / "a_0.png")
    return run_options, r"a_0\.png: label is 7x5"


def stray_value(run_options, tmp_path):
    Image.new("L", (32, 24), 77).save(tmp_path / "fields" / "labels" / "a_0.png")
    return run_options, r"a_0\.png: label value 77 \(768 pixels\)"


def no_unlabelled_images(run_options, tmp_path):
    return options_of(run_options, DATASETS__UNLABELLED="['photos']"), "UNLABELLED: 'photos' is neither"


def unlabelled_as_negatives(run_options, tmp_path):
    options = {"DATASETS__UNLABELLED": "['fields_test']", "MODEL__SGOVSS__IGNORED_PIXELS": "NEGATIVE"}
    return options_of(run_options, **options), "UNLABELLED.*'NEGATIVE'"


def unseen_as_negatives(run_options, tmp_path):
    return options_of(run_options, MODEL__SGOVSS__IGNORED_PIXELS="NEGATIVE"), r"DATASETS\.UNSEEN: .*use 'MASK'"


def damaged_unlabelled_image(run_options, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cut.png").write_bytes(b"no picture")
    return options_of(run_options, DATASETS__UNLABELLED=f"['{tmp_path / 'photos'}']"), r"cut\.png: cannot read"


def output_is_a_file(run_options, tmp_path):
    (tmp_path / "file").write_text("")
    return options_of(run_options, OUTPUT_DIR=tmp_path / "file"), "cannot write"


@pytest.mark.parametrize(
    "case",
    [
        wrong_config,
        wrong_type,
        odd_options,
        missing_weights,
        truncated_weights,
        foreign_weights,
        no_checkpoint,
        missing_clip_weights,
        unknown_tag,
        unknown_model,
        missing_root,
        unknown_dataset,
        missing_label,
        sizes_differ,
        stray_value,
        no_unlabelled_images,
        unlabelled_as_negatives,
        unseen_as_negatives,
        damaged_unlabelled_image,
        output_is_a_file,
    ],
    ids=lambda case: case.__name__,
)
def test_wrong_input_ends_in_one_clear_line(run_options, tmp_path, monkeypatch, capsys, case):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "nowhere"))
    options, message = case(run_options, tmp_path)
    assert train_net.main([*CONFIG, *options]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert re.search(message, error), error
    assert not list(output_of(run_options).glob("*.pth"))


def test_float16_without_cuda_is_refused_before_anything_is_written(run_options, tmp_path, capsys):
    output = tmp_path / "not_written"
    options = {"SOLVER__AMP__ENABLED": True, "SOLVER__AMP__DTYPE": "float16", "OUTPUT_DIR": output}
    assert train_net.main([*CONFIG, *options_of(run_options, **options)]) == 2
    assert "SOLVER.AMP.DTYPE: float16 needs a CUDA device" in capsys.readouterr().err
    assert not output.exists()


def test_no_config_and_wrong_config_file(tmp_path, capsys):
    assert train_net.main([]) == 2
    assert "--config-file" in capsys.readouterr().err
    assert train_net.main(["--config-file", "none.yaml"]) == 2
    assert "sgovss_tiny.yaml" in capsys.readouterr().err
    (tmp_path / "bad.yaml").write_text("MODEL: [")
    assert train_net.main(["--config-file", str(tmp_path / "bad.yaml")]) == 2
    assert "bad.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(("size", "expected"), [(0, 0.5), (48, 0.25)])
def test_the_checkpoint_knows_the_distance_of_what_it_was_trained_on(run_options, size, expected):
    """The images have a GSD of 0.5 m and 24 pixels on their shorter side; training may resize them."""
    changes = {"INPUT__MIN_SIZE_TRAIN": f"({size},)", "INPUT__CROP__SIZE": "[24,24]", "SOLVER__MAX_ITER": "1"}
    options = options_of(run_options, INPUT__GROUND_SAMPLE_DISTANCE="0.0", DATASETS__TEST="()", **changes)
    assert train_net.main([*CONFIG, *options]) == 0
    saved = yaml.safe_load(read_checkpoint(output_of(run_options) / "model_inference.pth")["config"])
    assert saved["INPUT"]["GROUND_SAMPLE_DISTANCE"] == pytest.approx(expected)


@pytest.mark.parametrize(("sizes", "expected"), [((80,), 0.375), ((30, 60), 0.5), ((20, 30, 40, 60, 80), 0.75)])
def test_the_distance_is_that_of_the_median_size(monkeypatch, sizes, expected):
    """The shorter side of the image is 60 pixels of 0.5 m."""
    cfg = load_config("sgovss_tiny.yaml", ("INPUT.GROUND_SAMPLE_DISTANCE", "0.0", "INPUT.MIN_SIZE_TRAIN", str(sizes)))
    cfg.DATASETS.TRAIN = ("only",)
    monkeypatch.setattr(preparation, "dataset_metadata", lambda _: SimpleNamespace(ground_sample_distance=0.5))
    monkeypatch.setattr(preparation, "DatasetCatalog", {"only": [{"file_name": "a.png"}]})
    monkeypatch.setattr(preparation, "image_size", lambda _: (60, 80))
    preparation._set_training_gsd(cfg)
    assert expected == cfg.INPUT.GROUND_SAMPLE_DISTANCE


@pytest.mark.parametrize(
    ("own", "stated", "expected"),
    [
        (0.0, (0.5, 0.5), 0.5),
        (0.0, (0.5, 0.3), 0.0),
        (0.0, (None,), 0.0),
        (0.0, ((0.1, 1.0),), 0.0),
        (0.8, (0.5,), 0.8),
    ],
)
def test_the_distance_is_that_of_all_training_sets_unless_the_config_has_one(monkeypatch, own, stated, expected):
    cfg = load_config(
        "sgovss_tiny.yaml", ("INPUT.GROUND_SAMPLE_DISTANCE", f"{own:.1f}", "INPUT.MIN_SIZE_TRAIN", "(0,)")
    )
    cfg.DATASETS.TRAIN = tuple(f"set_{number}" for number in range(len(stated)))
    known = {
        name: SimpleNamespace(ground_sample_distance=gsd) for name, gsd in zip(cfg.DATASETS.TRAIN, stated, strict=True)
    }
    monkeypatch.setattr(preparation, "dataset_metadata", known.__getitem__)
    preparation._set_training_gsd(cfg)
    assert expected == cfg.INPUT.GROUND_SAMPLE_DISTANCE
