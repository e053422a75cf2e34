"""``sgovss evaluate``: every checkpoint of a short training, from end to end, and wrong input."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from detectron2.config import CfgNode

import train_net
from sgovss.commands import compare, evaluate
from sgovss.evaluation.selection import METRICS
from sgovss.files import write_json_atomically
from sgovss.modeling.checkpoint import INFERENCE, TRAINING
from tests.engine.training import CONFIG, options_of, output_of


@pytest.fixture
def trained(run_options) -> tuple[Path, list[str]]:
    """A training of three steps with a checkpoint of each, and the options of its evaluation."""
    options = options_of(run_options, SOLVER__MAX_ITER=3, SOLVER__CHECKPOINT_PERIOD=1)
    assert train_net.main([*CONFIG, *options]) == 0
    place = options.index("OUTPUT_DIR")
    return output_of(options), [*options[:place], *options[place + 2 :]]


@pytest.mark.slow
def test_every_checkpoint_is_evaluated_once_and_the_best_is_named(trained, capsys):
    output, options = trained
    before = (output / "evaluation" / "fields_test.json").read_bytes()
    assert evaluate.main([*CONFIG, "--checkpoints", str(output), "--worst", "3", *options]) == 0
    out = capsys.readouterr().out
    folder = output / "evaluated"
    content = json.loads((folder / "checkpoints.json").read_text())
    # The last numbered checkpoint has the weights of model_final.pth.
    assert [each["step"] for each in content["checkpoints"]] == [1, 2, 3]
    scores = [each["scores"]["fields_test"]["mIoU"] for each in content["checkpoints"]]
    assert scores[-1] == json.loads(before)["mIoU"]
    best = content["checkpoints"][scores.index(max(scores))]["name"]
    assert content["best"] == best and f"best by mIoU on fields_test: {best}" in out
    assert "note: this score is too high by the choice itself" in out
    (page,) = folder.glob("*/evaluation/*.html")
    assert page == folder / Path(best).stem / "evaluation" / "fields_test_worst.html"
    assert f"worst images of each class: {page}" in out
    assert "b_0.jpg: IoU " in page.read_text() and page.read_text().count("data:image/jpeg") == 3
    rows = list(csv.DictReader((folder / "checkpoints.csv").read_text().splitlines()))
    assert [float(row["mIoU"]) for row in rows] == scores
    assert (folder / "fields_test_curves.png").is_file()
    assert (output / "evaluation" / "fields_test.json").read_bytes() == before  # the run's own results
    assert compare.main([str(folder / "model_0000000"), str(folder / "model_0000002")]) == 0
    assert "fields_test: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["MODEL.WEIGHTS", "x.pth"], "options: MODEL.WEIGHTS is set by the command"),
        (["OUTPUT_DIR", "x"], "options: OUTPUT_DIR is set by the command"),
        (["--worst", "0"], "--worst 0: give a number of images, 1 or more"),
        ([], "no model_0000123.pth or model_final.pth; give the OUTPUT_DIR of 'sgovss train'"),
    ],
)
def test_wrong_input_is_one_line(arguments, message, tmp_path, capsys):
    assert evaluate.main([*CONFIG, "--checkpoints", str(tmp_path), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_checkpoint(folder, capsys):
    (folder / "model_0000001.pth").write_bytes(b"damaged")
    assert evaluate.main([*CONFIG, "--checkpoints", str(folder)]) == 2
    assert "model_0000001.pth" in capsys.readouterr().err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Checkpoints without weights: three numbered ones, the last two of a run, and one for inference."""
    steps = {"model_0000099": 99, "model_0000199": 199, "model_0000299": 299, "model_final": 299}
    for name, iteration in steps.items():
        torch.save({"kind": TRAINING, "model": {}, "config": "", "iteration": iteration}, tmp_path / f"{name}.pth")
    torch.save({"kind": INFERENCE, "model": {}, "config": ""}, tmp_path / "model_inference.pth")
    return tmp_path


def test_checkpoints_in_the_order_of_their_steps_each_step_once(folder):
    assert [*evaluate.find_checkpoints(folder).values()] == [100, 200, 300]
    (folder / "model_0000299.pth").unlink()
    assert [path.name for path in evaluate.find_checkpoints(folder)][-1] == "model_final.pth"


@pytest.fixture
def instant(monkeypatch) -> None:
    """Evaluations that take no time: the harmonic mean rises with the steps, mIoU falls."""

    def prepare(args):
        options = dict(zip(args.opts[::2], args.opts[1::2], strict=True))
        cfg = CfgNode({"OUTPUT_DIR": options["OUTPUT_DIR"], "DATASETS": {"TEST": ("a_val", "a_test")}})
        cfg.STEP = int(Path(options["MODEL.WEIGHTS"]).stem.removeprefix("model_"))
        return cfg

    def start(cfg, args):
        for name in cfg.DATASETS.TEST:
            scores = {**dict.fromkeys(METRICS), "mIoU": 50 - cfg.STEP / 10, "harmonic_mIoU": float(cfg.STEP)}
            write_json_atomically(Path(cfg.OUTPUT_DIR) / "evaluation" / f"{name}.json", scores)

    monkeypatch.setattr(evaluate, "prepare_config", prepare)
    monkeypatch.setattr(evaluate, "start", start)


@pytest.mark.parametrize(
    ("choice", "best"),
    [
        ([], "best by mIoU on a_val: model_0000099.pth, 40.10"),
        (["--by", "a_test"], "best by mIoU on a_test: model_0000099.pth"),
        (["--metric", "harmonic_mIoU"], "best by harmonic_mIoU on a_val: model_0000299.pth, 299.00"),
    ],
)
def test_the_choice(folder, instant, choice, best, tmp_path, capsys):
    output = tmp_path / "out"
    assert evaluate.main([*CONFIG, "--checkpoints", str(folder), "--output", str(output), *choice]) == 0
    out = capsys.readouterr().out
    assert best in out and "too high by the choice" not in out
    assert {path.name for path in output.glob("model_*/evaluation/*")} == {"a_val.json", "a_test.json"}
    assert not (output / "evaluation").exists()


@pytest.mark.usefixtures("instant")
@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (["--by", "lakes_val"], "--by lakes_val: is not in DATASETS.TEST; give one of a_val, a_test"),
        (["--metric", "unseen_mIoU"], "--metric unseen_mIoU: undefined on a_val"),
    ],
)
def test_a_choice_that_is_not_possible(folder, choice, message, capsys):
    assert evaluate.main([*CONFIG, "--checkpoints", str(folder), *choice]) == 2
    assert message in capsys.readouterr().err
