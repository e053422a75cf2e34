"""Changes of the config between training and use: every key has a class, and what changes results is reported."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from detectron2.config import CfgNode, get_cfg
from detectron2.layers import ShapeSpec

import sgovss
import train_net
from sgovss.config import add_sgovss_config, load_config
from sgovss.config_changes import EARLIER, EFFECTS, Effect, Use, changes, effect_of, report_changes
from sgovss.engine.checkpoint import save_inference_checkpoint
from sgovss.export.onnx_predictor import onnx_config
from tests.engine.training import CONFIG, options_of, output_of
from tests.modeling.conftest import make_head


def keys_of(node: CfgNode, prefix: str = "") -> set[str]:
    keys = set()
    for name, value in node.items():
        keys |= keys_of(value, f"{prefix}{name}.") if isinstance(value, CfgNode) else {f"{prefix}{name}"}
    return keys


def test_every_key_has_a_class():
    cfg = get_cfg()
    theirs = keys_of(cfg)
    add_sgovss_config(cfg)
    own = keys_of(cfg) - theirs
    assert sorted(own - EFFECTS.keys()) == [], "a new key needs a line in sgovss/config_changes.py"
    assert sorted(key for key in theirs if effect_of(key) is None) == []
    every = keys_of(cfg)
    assert [key for key in EFFECTS if not any(f"{each}.".startswith(f"{key}.") for each in every)] == []
    assert EARLIER.keys() <= every


# Other values of the keys of the head than those of ``make_head``.
HEAD = {
    "bias_guidance": False, "decoder": False, "visual_guidance": False, "text_guidance": False, "hidden_dim": 48,
    "heads": 4, "bias_tokens": 3, "text_share": 0.5, "decoder_dims": (20, 16, 12), "decoder_kernel": 5,
    "guidance_dim": 4, "logit_scale": 3.0, "logit_bias": 1.0,
}  # fmt: skip


LEVELS = {"res3": 8, "res4": 16, "res5": 32, "dense": 32}


@pytest.mark.parametrize(("name", "value"), HEAD.items())
def test_a_key_of_the_head_is_an_error_if_and_only_if_shapes_change(name, value):
    levels = {level: ShapeSpec(channels=16, stride=stride) for level, stride in LEVELS.items()}
    first, second = (
        {key: tensor.shape for key, tensor in make_head(levels, **changed).state_dict().items()}
        for changed in ({}, {name: value})
    )
    assert (effect_of(f"MODEL.SGOVSS.{name.upper()}") is Effect.CHECKED) == (first != second)


CHANGED = {
    "MODEL.SGOVSS.HEADS": 2, "MODEL.CLIP.TEMPLATES": "plain", "INPUT.GROUND_SAMPLE_DISTANCE": 0.7,
    "DATASETS.UNSEEN": ("ship",), "SOLVER.BASE_LR": 0.02, "MODEL.SGOVSS.TEXT_SHARE": 0.5, "OUTPUT_DIR": "elsewhere",
    "TEST.PRECISION": "bfloat16", "DATALOADER.NUM_WORKERS": 7,
}  # fmt: skip


@pytest.mark.parametrize(
    ("use", "warned"),
    [
        (Use.INFERENCE, ["INPUT.GROUND_SAMPLE_DISTANCE", "MODEL.CLIP.TEMPLATES", "MODEL.SGOVSS.HEADS"]),
        (Use.EVALUATION, ["DATASETS.UNSEEN", "MODEL.CLIP.TEMPLATES", "MODEL.SGOVSS.HEADS"]),
        (Use.START, ["MODEL.CLIP.TEMPLATES", "MODEL.SGOVSS.HEADS"]),
        (Use.RESUME, ["DATASETS.UNSEEN", "MODEL.CLIP.TEMPLATES", "MODEL.SGOVSS.HEADS", "SOLVER.BASE_LR"]),
    ],
)
def test_one_line_for_what_matters_and_one_for_choices(use, warned, caplog):
    trained = load_config("sgovss_tiny.yaml", ["INPUT.GROUND_SAMPLE_DISTANCE", "0.5"])
    given = load_config("sgovss_tiny.yaml", [str(part) for pair in CHANGED.items() for part in pair])
    with caplog.at_level(logging.INFO, "sgovss"):
        for _ in range(2):
            report_changes(given, trained.dump(), f"{use}.pth", use)
    warning, info = caplog.records
    assert (warning.levelno, info.levelno) == (logging.WARNING, logging.INFO)
    assert warning.getMessage().startswith(f"{use}.pth: ") and "\n" not in warning.getMessage()
    assert [key for key in sorted(CHANGED) if key in warning.getMessage()] == warned
    assert "MODEL.SGOVSS.HEADS (4 there, 2 here)" in warning.getMessage()
    assert [key for key in sorted(CHANGED) if key in info.getMessage()] == ["MODEL.SGOVSS.TEXT_SHARE", "TEST.PRECISION"]


def test_the_same_values_are_no_change():
    """Whether as a list or a tuple, as an integer or a float, or left to the weights on one side."""
    options = {
        "TEST.AUG.MIN_SIZES": "[64,96]",
        "MODEL.SGOVSS.LOGIT_SCALE": "7.0",
        "INPUT.GROUND_SAMPLE_DISTANCE": "0.0",
    }
    trained = load_config("sgovss_tiny.yaml", [part for pair in options.items() for part in pair])
    saved = yaml.safe_load(trained.dump())
    saved["MODEL"]["CLIP"]["ACTIVATION"] = "quick_gelu"
    saved["MODEL"]["PIXEL_MEAN"] = []
    saved["INPUT"]["GROUND_SAMPLE_DISTANCE"] = 0.5
    saved["MODEL"]["SGOVSS"]["LOGIT_SCALE"] = 7
    trained.TEST.AUG.MIN_SIZES = (64, 96)
    assert changes(trained, yaml.safe_dump(saved)) == []
    assert changes(trained, "") == changes(trained, "x") == []


def test_a_key_that_the_checkpoint_lacks_is_todays_default_unless_an_earlier_version_differed():
    cfg = load_config("sgovss_tiny.yaml", ["MODEL.CLIP.SYNONYMS", "False"])
    saved = yaml.safe_load(cfg.dump())
    del saved["MODEL"]["CLIP"]["SYNONYMS"], saved["MODEL"]["CLIP"]["KEEP_TEXT"], saved["MODEL"]["SGOVSS"]["TEXT_SHARE"]
    saved["MODEL"]["SGOVSS"]["GATES_START"] = 0.0  # a key that is gone
    assert changes(cfg, yaml.safe_dump(saved)) == [
        ("MODEL.CLIP.SYNONYMS", True, False),
        ("MODEL.SGOVSS.TEXT_SHARE", 1.0, 0.25),
    ]


def test_a_predictor_with_a_config_of_its_own(tmp_path, caplog):
    device = ("MODEL.DEVICE", "cpu")
    trained = sgovss.Predictor("sgovss_tiny.yaml", options=(*device, "MODEL.SGOVSS.HEADS", "2"))
    save_inference_checkpoint(trained.model, trained.cfg, tmp_path / "x.pth")
    with caplog.at_level(logging.WARNING, "sgovss"):
        sgovss.Predictor(None, weights=tmp_path / "x.pth", options=device)
        assert caplog.messages == []
        changed = ("MODEL.WEIGHTS", str(tmp_path / "x.pth"), "MODEL.PIXEL_STD", "[100.0,100.0,100.0]")
        predictor = sgovss.Predictor("sgovss_tiny.yaml", options=(*device, *changed))
    (line,) = caplog.messages
    assert line.startswith(f"{tmp_path / 'x.pth'}: results change")
    assert "MODEL.SGOVSS.HEADS (2 there, 4 here)" in line and "MODEL.PIXEL_STD ([128.0, 128.0, 128.0] there" in line
    # It is true that results change.
    image = torch.randint(0, 256, (64, 64, 3), dtype=torch.uint8).numpy()
    first, second = (predict(image, "road, tree").scores for predict in (trained, predictor))
    assert abs(first - second).max() > 1e-4


def test_an_onnx_file(caplog):
    file = SimpleNamespace(path=Path("model.onnx"), metadata={"config": load_config("sgovss_tiny.yaml").dump()})
    with caplog.at_level(logging.WARNING, "sgovss"):
        onnx_config(file, ["MODEL.CLIP.KEEP_TEXT", "False", "TEST.SLIDING_WINDOW.ENABLED", "True"])
        assert caplog.messages == []
        onnx_config(file, ["MODEL.CLIP.TEMPLATES", "plain", "MODEL.CLIP.SYNONYMS", "False"])
    (line,) = caplog.messages
    assert line.startswith("model.onnx: ") and "TEMPLATES ('remote_sensing' there, 'plain' here)" in line
    assert "SYNONYMS (True there, False here)" in line


def warnings_in(folder: Path) -> list[str]:
    """The lines about changes in the log of a run."""
    return [line for line in (folder / "log.txt").read_text().splitlines() if "results change, because" in line]


def test_resumed_training_evaluation_and_a_new_start(run_options, tmp_path):
    first = options_of(run_options, SOLVER__MAX_ITER=1)
    assert train_net.main([*CONFIG, *first]) == 0
    assert warnings_in(output_of(run_options)) == []
    assert train_net.main([*CONFIG, "--resume", *options_of(first, SOLVER__BASE_LR=0.01, SOLVER__MAX_ITER=2)]) == 0
    (line,) = warnings_in(output_of(run_options))
    assert line.endswith(": SOLVER.BASE_LR (0.0005 there, 0.01 here), SOLVER.MAX_ITER (1 there, 2 here)")
    weights = output_of(run_options) / "model_final.pth"
    other = options_of(first, MODEL__WEIGHTS=weights, MODEL__SGOVSS__HEADS=2)
    for flags, changed, key in (
        (["--eval-only"], options_of(other, DATASETS__UNSEEN="()", OUTPUT_DIR=tmp_path / "evaluated"), "UNSEEN"),
        ([], options_of(other, MODEL__CLIP__TEMPLATES="plain", OUTPUT_DIR=tmp_path / "started"), "TEMPLATES"),
    ):
        assert train_net.main([*CONFIG, *flags, *changed]) == 0
        (line,) = warnings_in(Path(changed[-1]))
        assert "MODEL.SGOVSS.HEADS (4 there, 2 here)" in line and key in line and "SOLVER" not in line
