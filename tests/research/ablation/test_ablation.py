"""The bookkeeping of the ablation, with a substitute for train_net.py that writes the same files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import pytest
import torch
import yaml

from research.ablation.__main__ import visible_gpus
from research.ablation.interpolation import interpolate_encoder
from research.ablation.protocol import load_protocol
from research.ablation.report import best_settings, best_step, curves, refresh_tables, tables
from research.ablation.runs import Run, Runner
from sgovss.config import load_config
from sgovss.engine.checkpoint import SGOVSSCheckpointer
from sgovss.engine.trainer import Trainer
from sgovss.errors import InputError
from sgovss.modeling.checkpoint import read_checkpoint

CHECKOUT = Path(__file__).parents[3]

PROTOCOL = """
frozen_at: abc
steps: [100, 300, 1000]
screening_steps: 300
seeds: [1, 2]
grid: {lr: [0.1, 0.3], weight: [1, 2]}
options: {MODEL.CLIP.LR_MULTIPLIER: "{lr}"}
tasks:
  one:
    title: the one task
    config: sgovss_tiny.yaml
    choose: [val/harmonic_mIoU]
    report: {seen: test/seen_mIoU, harmonic mean: test/harmonic_mIoU}
    aside: {other: extra/mIoU}
variants:
  zero_shot: {title: zero-shot, trained: false}
  plain: {title: plain}
  blend: {title: blended, interpolates: plain, ratios: [0.5]}
  soft: {title: soft, options: {W: "[{weight}]"}}
  part: {title: a part of soft, weights_of: soft, ratios: [0.25], options: {S: "{ratio}"}}
curves: [soft, plain]
"""

# Scores rise with the steps, with the learning rate and by the seed, so that every choice is known beforehand.
STAND_IN = """
import json, sys, pathlib
words = sys.argv[1:]
at = words.index("--config-file")
words = [w for w in words[:at] + words[at + 2:] if not w.startswith("--")]
options = dict(zip(words[::2], words[1::2]))
out = pathlib.Path(options["OUTPUT_DIR"])
out.mkdir(parents=True, exist_ok=True)
with (out / "calls.txt").open("a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
if "--eval-only" not in sys.argv:
    if options["SEED"] == "13":
        sys.exit("error: no luck")
    for step in range(100, int(options["SOLVER.MAX_ITER"]) + 1, 100):
        (out / f"model_{step - 1:07d}.pth").write_text("weights")
    (out / "model_final.pth").write_text("weights")
else:
    steps = int(out.name.removeprefix("step_"))
    value = steps / 100 + float(options.get("MODEL.CLIP.LR_MULTIPLIER", 0)) + int(options["SEED"])
    for name in eval(options["DATASETS.TEST"]):
        metrics = dict.fromkeys(("mIoU", "seen_mIoU", "unseen_mIoU", "harmonic_mIoU", "pACC"), value)
        (out / "evaluation").mkdir(exist_ok=True)
        (out / "evaluation" / f"{name}.json").write_text(
            json.dumps({**metrics, "interval_95": {"mIoU": [value - 1, value + 2]},
                        "per_class": [{"name": "road", "iou": value}]}))
"""


@pytest.fixture
def protocol(tmp_path):
    (tmp_path / "protocol.yaml").write_text(PROTOCOL)
    return load_protocol(tmp_path / "protocol.yaml")


@pytest.fixture
def runner(protocol, tmp_path):
    (tmp_path / "train_net.py").write_text(STAND_IN)
    return Runner(protocol, tmp_path / "train_net.py", tmp_path / "runs", tmp_path / "work", 1)


@pytest.fixture(scope="module")
def tool():
    return import_module("research.ablation.__main__")


def test_a_variant_spans_the_axes_that_its_options_mention(protocol):
    assert protocol.grid_settings("zero_shot") == [{}]
    assert protocol.grid_settings("plain") == [{"lr": "0.1"}, {"lr": "0.3"}]
    assert len(protocol.grid_settings("soft")) == 4
    assert protocol.grid_settings("blend") == [{"lr": "0.1", "ratio": "0.5"}, {"lr": "0.3", "ratio": "0.5"}]
    soft = {"MODEL.CLIP.LR_MULTIPLIER": "0.3", "W": "[2]"}
    assert protocol.run_options("one", "soft", {"lr": "0.3", "weight": "2"}) == soft
    part = {"lr": "0.3", "weight": "2", "ratio": "0.25"}
    assert part in protocol.grid_settings("part") and len(protocol.grid_settings("part")) == 4
    assert protocol.run_options("one", "part", part) == {**soft, "S": "0.25"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("interpolates: plain", "interpolates: plane", "no variant 'plane'"),
        ('"[{weight}]"', '"[{heft}]"', "no axis 'heft'"),
        ("seeds: [1, 2]", "seeds: [one]", "seeds.0"),
        ("frozen_at: abc", "frozen: abc", "frozen"),
        (", ratios: [0.5]", "", "go together"),
        ("weights_of: soft", "weights_of: soft, interpolates: soft", "not both"),
        ("weights_of: soft", "weights_of: sort", "weights_of: there is no variant 'sort'"),
        ("{ratio}", "{ratios}", "no axis 'ratios'"),
        ("[soft, plain]", "[soft, plane]", "curves: there is no variant 'plane'"),
    ],
)
def test_a_wrong_protocol_ends_in_one_line(tmp_path, old, new, message):
    (tmp_path / "wrong.yaml").write_text(PROTOCOL.replace(old, new))
    with pytest.raises(InputError, match=message):
        load_protocol(tmp_path / "wrong.yaml")


def test_the_protocol_of_the_project_is_valid_and_names_known_keys():
    protocol = load_protocol(CHECKOUT / "research" / "evidence" / "protocol.yaml")
    for task in protocol.tasks:
        for variant in protocol.variants:
            every = protocol.grid_settings(variant)
            for settings in (every[0], every[-1]):  # all have the same keys
                options = protocol.run_options(task, variant, settings)
                load_config(protocol.tasks[task].config, [word for pair in options.items() for word in pair])


def test_a_run_is_scored_at_each_budget_and_never_twice(runner):
    run = Run("one", "plain", {"lr": "0.3"}, 2)
    assert runner.carry_out(run, [100, 300])
    record = runner.record(run)
    assert {step: value["test"]["mIoU"] for step, value in record["scores"].items()} == {"100": 3.3, "300": 5.3}
    assert record["scores"]["100"]["extra"]["iou"] == {"road": 3.3}
    assert record["scores"]["100"]["extra"]["interval"] == [2.3, 5.3]
    assert not runner.carry_out(run, [100, 300])
    assert runner.carry_out(run, [100, 300, 1000])
    calls = (runner.work / run.key / "calls.txt").read_text().splitlines()
    assert len(calls) == 2 and "SOLVER.MAX_ITER 1000" in calls[1] and "--resume" in calls[1]


def test_a_run_keeps_the_checkpoints_of_its_budgets_and_goes_on_from_the_last(runner):
    run = Run("one", "plain", {"lr": "0.3"}, 1)
    runner.carry_out(run, [100, 300])
    folder = runner.work / run.key
    assert sorted(path.name for path in folder.glob("*.pth")) == ["model_0000099.pth", "model_0000299.pth"]
    assert (folder / "last_checkpoint").read_text() == "model_0000299.pth"


def test_a_failed_training_names_log_and_reason_and_leaves_no_record(runner):
    run = Run("one", "plain", {"lr": "0.3"}, 13)
    with pytest.raises(InputError, match=r"status 1; see .*train.log \(error: no luck\)"):
        runner.carry_out(run, [100])
    assert runner.record(run) == {}


def test_the_best_settings_and_checkpoint_are_those_of_the_validation_set(protocol):
    def record(lr, **scores):
        sets = {
            step: {"val": {"harmonic_mIoU": val}, "test": {"harmonic_mIoU": test}}
            for step, (val, test) in scores.items()
        }
        return {"settings": {"lr": lr}, "scores": {step.strip("s"): value for step, value in sets.items()}}

    task = protocol.tasks["one"]
    slow, fast = record("0.1", s100=(20, 90), s300=(25, 10)), record("0.3", s100=(30, 1), s300=(5, 99), s1000=(50, 2))
    assert best_settings([slow, fast], task, longest=300) == {"lr": "0.3"}
    assert best_step(slow, task) == "300"
    assert best_step(fast, task) == "1000"
    assert best_settings([{}], task, longest=300) is None


@pytest.mark.slow
def test_the_whole_command_screens_chooses_finishes_and_reports(tool, protocol, runner, tmp_path, monkeypatch):
    monkeypatch.setattr("research.ablation.runs.interpolate_encoder", lambda *args: None)
    monkeypatch.setattr(tool, "CHECKOUT", tmp_path)
    flags = ["--protocol", tmp_path / "protocol.yaml", "--records", runner.records, "--work", runner.work]
    flags += ["--report", tmp_path / "report"]
    drawn = []
    monkeypatch.setattr("research.ablation.output.draw_curves", lambda series, *_, **__: drawn.append(list(series)))
    assert tool.main(["run", *map(str, flags)]) == 0
    written = {str(path.relative_to(runner.records)) for path in runner.records.rglob("*.json")}
    assert "one/plain/lr-0.1_seed-1.json" in written
    assert "one/plain/lr-0.3_seed-2.json" in written and "one/plain/lr-0.1_seed-2.json" not in written
    text = (tmp_path / "report" / "tables.md").read_text()
    # (10 + 0.3 + 1, 10 + 0.3 + 2) at 1000 steps
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert ["plain", "lr 0.3", "1000", "2", "11.8 ± 0.7", "11.8 ± 0.7"] in rows
    assert ["plain", "lr 0.3", "1000", "2", "11.8 ± 0.7 [10.8, 13.8]"] in rows
    assert drawn == [["soft", "plain"]] * 2


def test_given_settings_run_unscreened_and_beyond_the_grid(tool, protocol, runner, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tool, "CHECKOUT", tmp_path)
    flags = ["--protocol", tmp_path / "protocol.yaml", "--records", runner.records, "--work", runner.work]
    flags = ["run", *map(str, [*flags, "--report", tmp_path / "report"]), "--variants", "soft", "--longest", "300"]
    assert tool.main([*flags, "--settings", "weight=9", "lr=0.2"]) == 0
    written = {str(path.relative_to(runner.records)): path for path in runner.records.rglob("*.json")}
    assert set(written) == {f"one/soft/lr-0.2_weight-9_seed-{seed}.json" for seed in (1, 2)}
    record = json.loads(written["one/soft/lr-0.2_weight-9_seed-1.json"].read_text())
    assert record["options"]["W"] == "[9]" and list(record["scores"]) == ["100", "300"]
    assert tool.main([*flags, "--settings", "lr=0.2", "wait=9"]) == 2
    assert "--settings: soft needs exactly these settings: lr, weight" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        tool.main([*flags, "--settings", "lr"])
    assert "'lr' is not of the form AXIS=VALUE" in capsys.readouterr().err


def test_a_run_of_some_variants_leaves_the_others_in_the_report(tool, protocol, runner, tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "CHECKOUT", tmp_path)
    runner.carry_out(Run("one", "soft", {"lr": "0.1", "weight": "1"}, 1), [100])
    flags = ["--protocol", tmp_path / "protocol.yaml", "--records", runner.records, "--work", runner.work]
    flags += ["--report", tmp_path / "report", "--variants", "plain", "--screen"]
    assert tool.main(["run", *map(str, flags)]) == 0
    text = (tmp_path / "report" / "tables.md").read_text()
    assert "| plain" in text and "| soft" in text


def test_a_report_has_a_picture_of_each_column(tool, protocol, runner, tmp_path):
    run = Run("one", "plain", {"lr": "0.3"}, 1)
    runner.carry_out(run, [100])
    flags = ["--protocol", tmp_path / "protocol.yaml", "--records", runner.records, "--report", tmp_path / "report"]
    assert tool.main(["report", *map(str, flags)]) == 0
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "tables.md",
        "one_seen.png",
        "one_harmonic_mean.png",
    }


@pytest.mark.slow
def test_overlays_show_a_synthetic_image_by_every_variant_with_a_record(tool, tmp_path, monkeypatch, checkout):
    """Shown for synthetic images only; a variant without a record is left out."""
    monkeypatch.setenv("SGOVSS_CACHE", str(tmp_path))
    spec = yaml.safe_load((checkout / "datasets" / "generated_scenes.yaml").read_text())
    spec["name"], spec["generator"]["size"] = "small_scenes", 64
    spec["generator"]["splits"] = {"train": [10, 1], "val": [20, 1], "test": [30, 2]}
    for split, (_, count) in spec["generator"]["splits"].items():
        spec["splits"][split]["count"] = count
    (tmp_path / "small_scenes.yaml").write_text(yaml.safe_dump(spec))
    monkeypatch.setenv("SGOVSS_DATASETS", str(tmp_path / "small_scenes.yaml"))
    content = yaml.safe_load(PROTOCOL)
    content["variants"]["zero_shot"]["options"] = {"MODEL.SGOVSS.DECODER": "False"}
    content["tasks"]["one"] |= {
        "options": {"DATASETS.TRAIN": "('small_scenes_train',)", "DATASETS.UNSEEN": "['ship']"},
        "report": {"seen": "small_scenes_test/seen_mIoU"},
    }
    (tmp_path / "protocol.yaml").write_text(yaml.safe_dump(content))
    record = tmp_path / "runs" / "one" / "zero_shot" / "seed-1.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"settings": {}, "scores": {"0": {"val": {"harmonic_mIoU": 20.0}}}}))
    flags = ["--protocol", tmp_path / "protocol.yaml", "--records", tmp_path / "runs", "--work", tmp_path / "work"]
    flags = ["overlays", "--report", str(tmp_path / "report"), *map(str, flags)]
    assert tool.main(flags) == 0
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["one_overlays.png"]
    assert tool.main([*flags, "--image", "7"]) == 2


@pytest.mark.slow
def test_the_command_drives_the_real_train_net(checkout, run_options, tmp_path):
    """Trains a step, is called again for a second one, and evaluates interpolated encoders in between."""
    options = dict(zip(run_options[::2], run_options[1::2], strict=True))
    options["MODEL.CLIP.WEIGHTS"] = "embedded"
    for key in ("DATASETS.TEST", "SOLVER.MAX_ITER", "SOLVER.CHECKPOINT_PERIOD", "OUTPUT_DIR"):
        del options[key]
    task = {
        "title": "fields",
        "config": "sgovss_tiny.yaml",
        "choose": ["fields_test/mIoU"],
        "report": {"seen": "fields_test/seen_mIoU", "unseen": "fields_test/unseen_mIoU"},
    }
    variants = {
        "zero_shot": {"title": "zero-shot", "trained": False},
        "plain": {"title": "plain", "options": {"MODEL.SGOVSS.COMPENSATION.ENABLED": "False"}},
        "blend": {"title": "blended", "interpolates": "plain", "ratios": [0.5]},
        "part": {
            "title": "a part",
            "weights_of": "plain",
            "ratios": [0.25],
            "options": {"MODEL.SGOVSS.TEXT_SHARE": "{ratio}"},
        },
    }
    content = {"frozen_at": "nothing", "steps": [1, 2], "screening_steps": 1, "seeds": [1]}
    content |= {"options": options, "tasks": {"fields": task}, "variants": variants}
    (tmp_path / "protocol.yaml").write_text(yaml.safe_dump(content))
    command = [sys.executable, "-m", "research.ablation", "run", "--protocol", "protocol.yaml"]
    command += ["--records", "runs", "--work", "work", "--report", "report", "--jobs", "1"]
    place = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(checkout)}}
    first = subprocess.run(command, **place, capture_output=True, text=True, timeout=600)
    assert first.returncode == 0, first.stderr[-2000:]
    scores = json.loads((tmp_path / "runs/fields/plain/seed-1.json").read_text())["scores"]
    assert set(scores) == {"1", "2"} and set(scores["2"]["fields_test"]["iou"]) == {"field", "river", "hedge"}
    blended = json.loads((tmp_path / "runs/fields/blend/ratio-0.5_seed-1.json").read_text())["scores"]
    assert set(blended) == {"1", "2"}
    part = json.loads((tmp_path / "runs/fields/part/ratio-0.25_seed-1.json").read_text())
    assert part["options"]["MODEL.SGOVSS.TEXT_SHARE"] == "0.25"
    assert set(part["scores"]) == {"1", "2"}
    assert "blended" in (tmp_path / "report" / "tables.md").read_text()
    shown = [*command[:3], "overlays", *command[4:]]
    done = subprocess.run(shown, **place, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not list(tmp_path.rglob("*_overlays.png"))  # not drawn by the project
    again = subprocess.run(command, **place, capture_output=True, text=True, timeout=60)
    assert again.returncode == 0 and "already done" in again.stderr and " min)" not in again.stderr


def test_curves_begin_at_the_model_before_training(protocol):
    def record(step, value):
        return {"settings": {}, "scores": {step: {"test": {"seen_mIoU": value}}}}

    final = {"zero_shot": [record("0", 1.0)], "plain": [record("100", 3.0), record("100", 5.0)]}
    assert curves(protocol, "one", final, ["plain"], "test/seen_mIoU") == {"plain": {0: [1.0], 100: [3.0, 5.0]}}
    assert "4.0 ± 1.4" in tables(protocol, "one", final, brief=False)["one"]


def test_a_brief_table_has_every_budget_of_the_variants_with_curves_only(protocol):
    def record(variant):
        scores = {step: {"val": {"harmonic_mIoU": 1.0}, "test": {"seen_mIoU": 2.0}} for step in ("100", "300")}
        return {"settings": {}, "variant": variant, "scores": scores}

    final = {variant: [record(variant)] for variant in ("plain", "part")}
    full, brief = (tables(protocol, "one", final, brief)["one"].splitlines()[2:] for brief in (False, True))
    steps = [tuple(line.split("|")[column].strip() for column in (1, 3)) for line in brief]
    best = "best on validation"
    assert steps == [
        ("plain", "100"),
        ("plain", "300"),
        ("plain", best),
        ("a part of soft", "300"),
        ("a part of soft", best),
    ]
    assert len(full) == 6
    assert set(tables(protocol, "one", final, brief=True)) == {"one", "one aside"}


def test_a_page_gets_its_current_tables_and_keeps_all_else():
    page = "Words\n<!-- table: a -->\nold\n<!-- end -->\nand\n<!-- table: b aside -->\nkept\n<!-- end -->\n"
    new = refresh_tables(page, {"a": "| 1 |", "c": "| 2 |"})
    assert new == page.replace("old", "\n| 1 |\n")
    assert refresh_tables(new, {"a": "| 1 |"}) == new


def test_the_evidence_page_shows_what_its_records_say(tool, tmp_path):
    """Tables of the page in the tree are those of the records in the tree, and every task has one."""
    page, copy = CHECKOUT / "docs" / "evidence.md", tmp_path / "evidence.md"
    copy.write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    assert tool.main(["report", "--report", str(tmp_path / "evidence")]) == 0
    assert copy.read_text(encoding="utf-8") == page.read_text(encoding="utf-8")
    current = (tmp_path / "evidence" / "tables.md").read_text(encoding="utf-8")
    assert current == (CHECKOUT / "docs" / "evidence" / "tables.md").read_text(encoding="utf-8")
    for task in load_protocol(CHECKOUT / "research" / "evidence" / "protocol.yaml").tasks:
        assert f"<!-- table: {task} -->" in copy.read_text(encoding="utf-8")


def test_an_interpolated_encoder_lies_between_frozen_and_tuned(tmp_path):
    options = {"MODEL.SGOVSS.COMPENSATION.ENABLED": "False"}
    cfg = load_config(
        "sgovss_tiny.yaml", [*(word for pair in options.items() for word in pair), "OUTPUT_DIR", str(tmp_path)]
    )
    model = Trainer.build_model(cfg)
    frozen = {key: value.clone() for key, value in model.state_dict().items()}
    checkpointer = SGOVSSCheckpointer(model, cfg)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    checkpointer.save("tuned")
    interpolate_encoder(tmp_path / "tuned.pth", "sgovss_tiny.yaml", options, 0.25, tmp_path / "quarter.pth")
    blended = read_checkpoint(tmp_path / "quarter.pth")["model"]
    for key, value in blended.items():
        expected = 0.25 if key.startswith("image_encoder.") else 1.0
        torch.testing.assert_close(value, frozen[key] + expected)
    assert json.dumps(sorted(blended)) == json.dumps(sorted(read_checkpoint(tmp_path / "tuned.pth")["model"]))


@pytest.mark.parametrize(
    ("count", "named", "expected"),
    [(0, None, []), (2, None, ["0", "1"]), (2, "", ["0", "1"]), (2, "3,5", ["3", "5"]), (1, "GPU-8f2a", ["GPU-8f2a"])],
)
def test_gpus_are_named_as_the_environment_names_them(monkeypatch, count, named, expected):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    assert visible_gpus() == expected


def test_runs_at_the_same_time_have_a_gpu_each(protocol, tmp_path, monkeypatch):
    """Six commands on two GPUs: never two at a time on one."""
    busy, seen = set(), []

    def run(command, *, env, **_):
        device = env["CUDA_VISIBLE_DEVICES"]
        assert device not in busy
        busy.add(device)
        seen.append(device)
        time.sleep(0.05)
        busy.remove(device)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr("research.ablation.runs.subprocess.run", run)
    runner = Runner(protocol, tmp_path / "train_net.py", tmp_path / "runs", tmp_path / "work", 1, ["3", "5"])
    runs = [Run("one", "plain", {"lr": "0.1"}, seed) for seed in range(6)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda each: runner._call(each, tmp_path / f"{each.seed}.log", {}), runs))
    assert len(seen) == 6 and set(seen) == {"3", "5"}
