"""Configs that come with sgovss are complete, and every key of sgovss is read somewhere."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from detectron2.config import CfgNode, get_cfg

from sgovss import paths
from sgovss.config import add_sgovss_config, load_config
from sgovss.config_rules import check_precisions
from sgovss.errors import InputError
from sgovss.inference.predictor import Predictor
from sgovss.modeling.checkpoint import apply_weights, config_of, read_checkpoint


@pytest.mark.parametrize(
    "path", sorted(paths.config_file("sgovss_tiny.yaml").parent.rglob("*.yaml")), ids=lambda path: path.stem
)
def test_every_config_loads(path):
    assert load_config(path).MODEL.META_ARCHITECTURE == "SGOVSS"


def keys_of(node: CfgNode, prefix: str = "") -> set[str]:
    keys = set()
    for name, value in node.items():
        keys |= keys_of(value, f"{prefix}{name}.") if isinstance(value, CfgNode) else {f"{prefix}{name}"}
    return keys


def test_every_own_key_is_read_and_has_a_comment(checkout):
    cfg = get_cfg()
    theirs = keys_of(cfg)
    add_sgovss_config(cfg)
    own = keys_of(cfg) - theirs
    assert len(own) > 25
    files = [path for path in (checkout / "sgovss").rglob("*.py") if not path.name.startswith("config")]
    code = "\n".join(path.read_text() for path in files)
    assert [key for key in own if f".{key.split('.')[-1]}" not in code] == []
    lines = (checkout / "sgovss" / "config.py").read_text().splitlines()
    for number, line in enumerate(lines):
        name = line.strip().split(" = ")[0].split(".")[-1]
        set_for_detectron2 = line.strip().startswith("cfg.MODEL.")
        if " = " in line and not set_for_detectron2 and any(key.endswith(f".{name}") for key in own):
            above = [text.strip() for text in lines[max(0, number - 2) : number]]
            assert any(text.startswith("#") for text in above), f"{name} has no comment"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["MODEL.SGOVS.HEADS", "4"], "MODEL.SGOVS"),
        (["MODEL.SGOVSS.HEADS", "four"], "HEADS"),
        (["MODEL.SGOVSS.HEADS"], "no value"),
        (["MODEL.SGOVSS.HEADS", "None"], "MODEL.SGOVSS.HEADS: has no value"),
        (["MODEL.SGOVSS.HEADS", "0"], "MODEL.SGOVSS.HEADS: 0 is not allowed; give a number above 0"),
        (["TEST.PRECISION", "float8"], "TEST.PRECISION: 'float8' is not allowed; use float32, bfloat16 or float16"),
        (["MODEL.PIXEL_STD", "[1.0,0.0,1.0]"], "MODEL.PIXEL_STD: .* give three numbers"),
        (
            ["MODEL.BACKBONE.NAME", "ResNet"],
            "MODEL.BACKBONE.NAME: this key was removed, because MODEL.CLIP.NAME chooses the image encoder",
        ),
        (["SOLVER.OPTIMIZER", "ADAMW"], "^SOLVER.OPTIMIZER: this key was removed, because AdamW is the only optimizer"),
        (["SOLVER.OPTIMIZERS", "ADAMW"], "there is no key 'SOLVER.OPTIMIZERS'; configs/base.yaml and"),
        (["SOLVER.BASELR", "1"], r"there is no key 'SOLVER.BASELR'; did you mean SOLVER.BASE_LR\?"),
        (["solver.max_iter", "1"], r"there is no key 'solver.max_iter'; did you mean SOLVER.MAX_ITER\?"),
        (["SOLVER.MAX_ITER.A", "1"], r"there is no key 'SOLVER.MAX_ITER.A'; did you mean SOLVER.MAX_ITER\?"),
        (["SOLVER.MAX_ITER", "many"], "SOLVER.MAX_ITER: 'many' is of type str; give a whole number"),
        (["SOLVER.BASE_LR", "(1,)"], "SOLVER.BASE_LR: .* is of type tuple; give a number"),
        (
            ["DATASETS.TRAIN", "dubai"],
            "DATASETS.TRAIN: 'dubai' is of type str; give a tuple, such as .* with the comma",
        ),
        (["SOLVER.STEPS", "3"], "SOLVER.STEPS: '3' is of type int; give a tuple"),
        (["SOLVER", "3"], r"SOLVER: a group of keys; set one of them, such as SOLVER\."),
        (["SEED", "1", "--resume"], "--resume: stands behind a config key; write options before the first key"),
        (["SEED", "1", "--num-gpus", "2"], "--num-gpus: stands behind a config key"),
        (["--polygons", "SEED", "1"], "--polygons: stands behind a config key"),
        (
            ["MODEL.CLIP.TUNING", "everything"],
            "MODEL.CLIP.TUNING: 'everything' is not allowed; use full, attention or none",
        ),
        (
            ["MODEL.CLIP.ACTIVATION", "relu"],
            "MODEL.CLIP.ACTIVATION: 'relu' is not allowed; use auto, gelu or quick_gelu",
        ),
        (["MODEL.SGOVSS.IGNORED_PIXELS", "SKIP"], "IGNORED_PIXELS: 'SKIP' is not allowed; use MASK or NEGATIVE"),
        (["MODEL.SGOVSS.HIDDEN_DIM", "130"], r"DECODER_DIMS: .* \(and HIDDEN_DIM\) a multiple of HEADS \(4\)"),
        (
            ["MODEL.SGOVSS.DECODER_DIMS", "[8,8]"],
            r"DECODER_DIMS: \[8, 8\], with HIDDEN_DIM 128, is not allowed; give three widths",
        ),
        (
            ["DATALOADER.SAMPLER_TRAIN", "RandomSampler"],
            "SAMPLER_TRAIN: 'RandomSampler' is not allowed; use TrainingSampler",
        ),
        (
            ["DATALOADER.SAMPLER_TRAIN", "RepeatFactorTrainingSampler"],
            "REPEAT_THRESHOLD: with 0.0 RepeatFactorTrainingSampler repeats no image; give the share",
        ),
        (["MODEL.SGOVSS.CLASS_BALANCE", "2.0"], "CLASS_BALANCE: 2.0 is not allowed; give a number from 0 to 1"),
        (
            ["SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "value"],
            "CLIP_GRADIENTS.CLIP_TYPE: 'value' is not allowed; use full_model",
        ),
        (
            ["DATASETS.UNLABELLED", "['photos']", "DATASETS.UNLABELLED_SHARE", "1.0"],
            "UNLABELLED_SHARE: 1.0 is not allowed; give a number above 0 and below 1",
        ),
        (
            ["DATASETS.UNLABELLED", "['photos']", "MODEL.SGOVSS.IGNORED_PIXELS", "NEGATIVE"],
            "DATASETS.UNLABELLED: with MODEL.SGOVSS.IGNORED_PIXELS 'NEGATIVE' .*; use 'MASK'",
        ),
        (
            ["TEST.SLIDING_WINDOW.ENABLED", "True", "TEST.SLIDING_WINDOW.STRIDE", "400"],
            r"TEST.SLIDING_WINDOW.STRIDE: 400 is not from 1 to the window, 384; give a stride",
        ),
        (["TEST.SCENE.STRIDE", "0"], r"TEST.SCENE.STRIDE: 0 is not from 1 to the window, 512; give a stride"),
        (["MODEL.DEVICE", "gpu"], "MODEL.DEVICE: 'gpu' is not a device of PyTorch"),
        (["MODEL.DEVICE", "cuda:99"], "MODEL.DEVICE: this machine has no device 'cuda:99'"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(InputError, match=message) as caught:
        load_config("sgovss_tiny.yaml", options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not a config, or its _BASE_ is not one; expected keys with values"),
        ("- SEED", "not a config"),
        ("_BASE_: 5", "not a config"),
        ("_BASE_: own.yaml", "check that its _BASE_ does not lead back to it"),
        ("_BASE_: absent.yaml", r"cannot read .*absent.yaml \(No such file or directory\); correct _BASE_"),
        ("[" * 3000, "nested without end"),
        ("SEED: \x00", "special characters are not allowed"),
        ("VERSION: two", "not a config"),
        ("SOLVER:\n  OPTIMIZER: ADAMW", "SOLVER.OPTIMIZER: this key was removed, because AdamW is the only optimizer"),
    ],
    ids=["empty", "list", "number as base", "loop", "absent base", "deep", "binary", "version", "removed key"],
)
def test_wrong_files_are_named(tmp_path, content, message):
    (tmp_path / "own.yaml").write_text(content)
    with pytest.raises(InputError, match=rf"own\.yaml: .*{message}") as caught:
        load_config(tmp_path / "own.yaml")
    assert "\n" not in str(caught.value)


def test_a_config_runs_no_program(tmp_path):
    trace = tmp_path / "trace"
    (tmp_path / "own.yaml").write_text(f"OUTPUT_DIR: !!python/object/apply:os.system ['touch {trace}']")
    with pytest.raises(InputError, match="could not determine a constructor for the tag"):
        load_config(tmp_path / "own.yaml")
    assert not trace.exists()


def test_a_checkpoints_config_comes_back(tmp_path):
    cfg = load_config("sgovss_tiny.yaml", ["MODEL.SGOVSS.HEADS", "2"])
    torch.save({"kind": "inference", "model": {}, "config": cfg.dump()}, tmp_path / "x.pth")
    assert yaml.safe_load(config_of(tmp_path / "x.pth").dump()) == yaml.safe_load(cfg.dump())


def test_float16_needs_cuda_for_training_only():
    cfg = load_config("sgovss_tiny.yaml", ["SOLVER.AMP.DTYPE", "float16", "MODEL.DEVICE", "cpu"])
    check_precisions(cfg, training=True)
    cfg.SOLVER.AMP.ENABLED = True
    with pytest.raises(InputError, match=r"SOLVER\.AMP\.DTYPE: float16 needs a CUDA device; use bfloat16"):
        check_precisions(cfg, training=True)
    check_precisions(cfg, training=False)


def test_float16_inference_needs_cuda():
    cfg = load_config("sgovss_tiny.yaml", ["TEST.PRECISION", "float16", "MODEL.DEVICE", "cpu"])
    with pytest.raises(InputError, match=r"TEST\.PRECISION: float16 needs a CUDA device; use bfloat16"):
        check_precisions(cfg, training=False)


def test_training_in_bfloat16_is_refused_on_a_gpu_that_emulates_it(monkeypatch):
    cfg = load_config("sgovss_tiny.yaml", ["MODEL.DEVICE", "cpu"])
    cfg.MODEL.DEVICE, cfg.SOLVER.AMP.ENABLED, native = "cuda", True, []
    monkeypatch.setattr("sgovss.config_rules.has_bfloat16", lambda device: bool(native))
    with pytest.raises(
        InputError, match=r"^SOLVER\.AMP\.DTYPE: this GPU has no bfloat16 .* set SOLVER\.AMP\.DTYPE float16"
    ):
        check_precisions(cfg, training=True)
    check_precisions(cfg, training=False)
    cfg.SOLVER.AMP.DTYPE = "float16"
    check_precisions(cfg, training=True)
    cfg.SOLVER.AMP.DTYPE = "bfloat16"
    native.append(1)
    check_precisions(cfg, training=True)


REMOVED = {"SOLVER.OPTIMIZER": "ADAMW", "MODEL.BACKBONE.NAME": "CLIPImageEncoder"}


@pytest.fixture
def old_checkpoint(tmp_path) -> Path:
    """An inference checkpoint whose config has keys that were removed since."""
    predictor = Predictor("sgovss_tiny.yaml", options=("MODEL.DEVICE", "cpu", "MODEL.CLIP.WEIGHTS", "random"))
    saved = yaml.safe_load(predictor.cfg.dump())
    for key, value in REMOVED.items():
        *parents, name = key.split(".")
        node = saved
        for parent in parents:
            node = node[parent]
        node[name] = value
    content = {"kind": "inference", "model": predictor.model.state_dict(), "config": yaml.safe_dump(saved)}
    torch.save(content, tmp_path / "old.pth")
    return tmp_path / "old.pth"


def warnings_of(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def expect_one_line_for_each_removed_key(lines: list[str], path: Path) -> None:
    assert len(lines) == len(REMOVED)
    for key in REMOVED:
        (line,) = [line for line in lines if f"its config key {key} was removed" in line]
        assert line.startswith(f"{path}: ") and "\n" not in line


def test_a_predictor_leaves_out_removed_keys_of_a_checkpoint(old_checkpoint, caplog):
    with caplog.at_level(logging.WARNING, "sgovss"):
        predictor = Predictor(None, weights=old_checkpoint, options=("MODEL.DEVICE", "cpu"))
    expect_one_line_for_each_removed_key(warnings_of(caplog), old_checkpoint)
    assert "OPTIMIZER" not in predictor.cfg.SOLVER
    assert predictor.cfg.MODEL.BACKBONE.NAME == get_cfg().MODEL.BACKBONE.NAME


def test_loading_weights_names_removed_keys_of_a_checkpoint(old_checkpoint, caplog):
    """As evaluation and resumed training do, which take the config of the command line."""
    content = read_checkpoint(old_checkpoint)
    model = Predictor("sgovss_tiny.yaml", options=("MODEL.DEVICE", "cpu", "MODEL.CLIP.WEIGHTS", "random")).model
    with caplog.at_level(logging.WARNING, "sgovss"):
        apply_weights(model, content, old_checkpoint, "")
        apply_weights(model, content, old_checkpoint, "")
    expect_one_line_for_each_removed_key(warnings_of(caplog), old_checkpoint)


def test_a_checkpoint_of_this_version_gives_no_warning(tmp_path, caplog):
    cfg = load_config("sgovss_tiny.yaml")
    torch.save({"kind": "inference", "model": {}, "config": cfg.dump()}, tmp_path / "x.pth")
    with caplog.at_level(logging.WARNING, "sgovss"):
        config_of(tmp_path / "x.pth")
    assert warnings_of(caplog) == []


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_reading_a_config_imports_no_model():
    code = """
import sys
from sgovss.config import load_config
load_config("sgovss_tiny.yaml")
print([name for name in ("open_clip", "timm", "torchvision", "transformers", "sgovss.modeling") if name in sys.modules])
"""
    assert run_python(code) == "[]"


@pytest.mark.slow
def test_detectron2_builds_the_model_in_ones_own_script():
    """The example in the docstring of add_sgovss_config."""
    code = """
import sgovss
import sgovss.modeling
from detectron2.config import get_cfg
from detectron2.modeling import build_model

cfg = get_cfg()
sgovss.add_sgovss_config(cfg)
cfg.MODEL.DEVICE = "cpu"
cfg.MODEL.PIXEL_MEAN = cfg.MODEL.PIXEL_STD = [127.0, 127.0, 127.0]
print(type(build_model(cfg)).__name__)
"""
    assert run_python(code).splitlines()[-1] == "SGOVSS"
