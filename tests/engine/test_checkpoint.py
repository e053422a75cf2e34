"""Reading, writing and resuming of checkpoints; damaged or unsuitable files are refused with a message."""

from __future__ import annotations

import logging
import random

import open_clip
import pytest
import torch
from safetensors.torch import save_file

import sgovss
from sgovss.config import load_config
from sgovss.engine.checkpoint import SGOVSSCheckpointer, save_inference_checkpoint
from sgovss.errors import InputError
from sgovss.modeling.checkpoint import apply_weights, base_fingerprint, expect_own_weights, read_checkpoint


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image_encoder = torch.nn.Linear(2, 2)
        self.text_embedder = torch.nn.Linear(2, 2).requires_grad_(False)
        self.head = torch.nn.Linear(2, 3)


def content_of(model: Small, kind: str, base: str) -> dict:
    trainable = {name for name, value in model.named_parameters() if value.requires_grad}
    state = {key: value.clone() for key, value in model.state_dict().items() if kind == "inference" or key in trainable}
    return {"kind": kind, "model": state, "base_weights": {"name": "x", "sha256": base}}


@pytest.mark.parametrize(
    ("kind", "weights", "activation"), [("training", "openai", "quick_gelu"), ("inference", "random", "quick_gelu")]
)
def test_a_checkpoint_with_all_weights_brings_their_activation(tmp_path, kind, weights, activation):
    """The activation is read from the checkpoint; the source of the CLIP weights is not loaded again."""
    saved = load_config("sgovss_tiny.yaml", ["MODEL.CLIP.ACTIVATION", "quick_gelu"])
    torch.save({**content_of(Small(), kind, "a"), "config": saved.dump()}, tmp_path / "x.pth")
    cfg = load_config("sgovss_tiny.yaml", ["MODEL.CLIP.WEIGHTS", "openai"])
    expect_own_weights(cfg, read_checkpoint(tmp_path / "x.pth"))
    assert (weights, activation) == (cfg.MODEL.CLIP.WEIGHTS, cfg.MODEL.CLIP.ACTIVATION)


def test_a_predictor_reads_its_checkpoint_once(tmp_path, monkeypatch):
    path = tmp_path / "x.pth"
    first = sgovss.Predictor("sgovss_tiny.yaml", options=("MODEL.DEVICE", "cpu", "SEED", "3"))
    save_inference_checkpoint(first.model, first.cfg, path)
    reads = []
    monkeypatch.setattr("sgovss.inference.predictor.read_checkpoint", lambda file: reads.append(file) or content)
    content = read_checkpoint(path)
    for config in (None, "sgovss_tiny.yaml"):
        predictor = sgovss.Predictor(config, weights=path, options=("MODEL.DEVICE", "cpu"))
        assert reads == [path]
        assert predictor.cfg.MODEL.CLIP.WEIGHTS == "random"  # not read, because the checkpoint has all weights
        assert predictor.cfg.MODEL.PIXEL_MEAN == [127.0] * 3  # resolved, for files that are written from it
        assert base_fingerprint(predictor.model) == base_fingerprint(first.model)
        reads.clear()
    assert predictor.cfg.SEED != 3


@pytest.mark.parametrize("kind", ["training", "inference"])
def test_weights_come_back(kind):
    source, target = Small(), Small()
    target.text_embedder.load_state_dict(source.text_embedder.state_dict())
    apply_weights(target, content_of(source, kind, "a"), "x.pth", "a")
    assert all(torch.equal(value, target.state_dict()[key]) for key, value in source.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("head.bias"), r"1 tensors missing \(head\.bias\)"),
        (lambda state: state.update(extra=torch.zeros(1)), r"1 tensors left over \(extra\)"),
        (lambda state: state.update({"head.bias": torch.zeros(4)}), r"head\.bias is \(4,\), not \(3,\)"),
    ],
)
def test_tensors_that_do_not_match_are_named_and_nothing_is_loaded(change, message):
    model = Small()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    content = content_of(Small(), "training", "a")
    change(content["model"])
    with pytest.raises(InputError, match=message):
        apply_weights(model, content, "x.pth", "a")
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in before.items())


def test_other_base_weights_are_refused():
    with pytest.raises(InputError, match=r"was trained from 'x' \(SHA-256 b…\)"):
        apply_weights(Small(), content_of(Small(), "training", "b"), "x.pth", "a")


@pytest.mark.parametrize("kind", ["training", "inference"])
@pytest.mark.parametrize("age", ["new", "old"])
def test_another_activation_than_in_training_is_one_line(kind, age):
    """Checkpoints of older versions hold the activation in their config only."""
    models = {activation: clip_model(activation) for activation in ("gelu", "quick_gelu")}
    for trained, model in models.items():
        content = content_of(model, kind, base_fingerprint(model).partition("/" if age == "old" else " none")[0])
        options = ["MODEL.CLIP.NAME", "ViT-B-16", "MODEL.CLIP.ACTIVATION", "auto" if trained == "gelu" else trained]
        content["config"] = load_config("base.yaml", [*options, "MODEL.CLIP.WEIGHTS", "mine.pt"]).dump()
        apply_weights(model, content, "x.pth", base_fingerprint(model))
        other = models["gelu" if trained == "quick_gelu" else "quick_gelu"]
        with pytest.raises(InputError, match=r"MODEL\.CLIP\.ACTIVATION: x\.pth was trained with ") as caught:
            apply_weights(other, content, "x.pth", base_fingerprint(other))
        assert "\n" not in str(caught.value)


def clip_model(activation: str) -> torch.nn.Module:
    model = Small()
    kind = open_clip.model.QuickGELU if activation == "quick_gelu" else torch.nn.GELU
    model.text_embedder = torch.nn.Sequential(torch.nn.Linear(2, 2), kind()).requires_grad_(False)
    torch.nn.init.ones_(model.text_embedder[0].weight)
    torch.nn.init.ones_(model.text_embedder[0].bias)
    torch.nn.init.ones_(model.image_encoder.weight)
    torch.nn.init.ones_(model.image_encoder.bias)
    return model


@pytest.mark.parametrize(
    ("write", "what"),
    [
        (lambda state, path: save_file(state, path), "a safetensors file, not a checkpoint"),
        (lambda state, path: path.write_text('{"weight_map": {"a": "b"}}'), "the index of a model in several files"),
        (lambda state, path: path.write_text("version https://git-lfs.github.com/spec/v1"), "the pointer of Git LFS"),
        (lambda state, path: torch.jit.script(torch.nn.Linear(2, 2)).save(path), "a TorchScript archive"),
        (
            lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
            "a pickle or a file of",
        ),
        (lambda state, path: torch.save(state, path), "not a checkpoint of sgovss"),
    ],
)
@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning", "ignore:.torch.jit:DeprecationWarning")
def test_other_files_in_model_weights_are_named(tmp_path, write, what):
    write({"visual.proj": torch.zeros(2)}, tmp_path / "clip.pth")
    with pytest.raises(InputError, match=what) as caught:
        read_checkpoint(tmp_path / "clip.pth")
    assert "damaged" not in str(caught.value)
    assert ("git lfs pull" if "LFS" in what else "MODEL.CLIP.WEIGHTS for CLIP weights") in str(caught.value)


class Refining(Small):
    """A model whose head refines some feature maps."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        maps = torch.nn.ModuleDict({name: torch.nn.Linear(2, 2) for name in names})
        self.head = torch.nn.ModuleDict({"refinement": torch.nn.ModuleDict({"visual": maps})})


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("kind", ["training", "inference"])
def test_weights_that_are_not_finite_are_one_line_and_nothing_is_loaded(kind, odd):
    source, target = Small(), Small()
    content = content_of(source, kind, "a")
    content["model"] = {key: value.clone() for key, value in content["model"].items()}
    content["model"]["head.weight"][0, 0] = odd
    before = target.head.weight.clone()
    with pytest.raises(
        InputError, match=r"MODEL\.WEIGHTS: x\.pth: 1 of \d tensors hold NaN or Inf, such as head\.weight"
    ):
        apply_weights(target, content, "x.pth", "a")
    assert torch.equal(before, target.head.weight)


@pytest.mark.parametrize("kind", ["training", "inference"])
def test_refined_maps_that_nothing_reads_are_left_out_of_older_checkpoints(kind):
    source, target = Refining("res3", "dense"), Refining("dense")
    apply_weights(target, content_of(source, kind, "a"), "x.pth", "a")
    key = "head.refinement.visual.dense.weight"
    assert torch.equal(source.state_dict()[key], target.state_dict()[key])
    with pytest.raises(InputError, match=r"2 tensors missing \(head\.refinement\.visual\.res3"):
        apply_weights(source, content_of(target, kind, "a"), "x.pth", "a")


def test_an_older_checkpoint_with_further_parameters_is_not_resumed(tmp_path):
    cfg = load_config("sgovss_tiny.yaml", ["OUTPUT_DIR", str(tmp_path)])
    source, target = Refining("res3", "dense"), Refining("dense")
    target.text_embedder.load_state_dict(source.text_embedder.state_dict())
    target.image_encoder.load_state_dict(source.image_encoder.state_dict())
    SGOVSSCheckpointer(source, cfg).save("model_0000001")
    with pytest.raises(InputError, match=r"older version.*set MODEL\.WEIGHTS to it and leave out --resume"):
        SGOVSSCheckpointer(target, cfg).resume_or_load("", resume=True)
    SGOVSSCheckpointer(target, cfg).resume_or_load(str(tmp_path / "model_0000001.pth"), resume=False)


def test_fingerprint_depends_on_the_clip_weights_only():
    model = Small()
    first = base_fingerprint(model)
    torch.nn.init.zeros_(model.head.weight)
    assert base_fingerprint(model) == first
    with torch.no_grad():
        model.image_encoder.weight[0, 0] += 1e-3
    assert base_fingerprint(model) != first


def test_a_pickled_object_is_refused(tmp_path):
    torch.save({"kind": "training", "model": {}, "hook": pytest.raises}, tmp_path / "x.pth")
    with pytest.raises(InputError, match="damaged"):
        read_checkpoint(tmp_path / "x.pth")


class Counter:
    """An object with a state to resume."""

    def __init__(self) -> None:
        self.steps = 0

    def state_dict(self) -> dict[str, int]:
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.steps = state["steps"]


def checkpointer_of(folder) -> SGOVSSCheckpointer:
    """Return a checkpointer after it wrote checkpoints of steps 0 to 2; the counter itself is at 3."""
    cfg = load_config("sgovss_tiny.yaml", ["OUTPUT_DIR", str(folder)])
    counter = Counter()
    checkpointer = SGOVSSCheckpointer(Small(), cfg, counter=counter)
    for counter.steps in range(3):
        checkpointer.save("model_final" if counter.steps == 2 else f"model_{counter.steps:07d}")
    counter.steps = 3
    return checkpointer


def test_a_changed_bit_is_detected_unless_the_content_stays_the_same(tmp_path):
    path = tmp_path / "x.pth"
    torch.save({"kind": "inference", "config": "x", "model": {"weight": torch.arange(3000.0)}}, path)
    whole, expected = path.read_bytes(), read_checkpoint(path)["model"]["weight"]
    draw, noticed = random.Random(0), 0
    for place in draw.sample(range(len(whole)), 300):
        changed = bytearray(whole)
        changed[place] ^= 1 << draw.randrange(8)
        path.write_bytes(changed)
        try:
            assert torch.equal(read_checkpoint(path)["model"]["weight"], expected), place
        except InputError:
            noticed += 1
    assert noticed > 240


@pytest.mark.parametrize(
    ("damaged", "steps"),
    [({}, 2), ({"model_final": 0.7}, 1), ({"model_final": 0.0, "model_0000001": 0.99}, 0), ({"model_0000001": 0.5}, 2)],
    ids=["none", "the last", "the last two", "an earlier one"],
)
def test_resuming_takes_the_newest_undamaged_checkpoint(tmp_path, caplog, damaged, steps):
    checkpointer = checkpointer_of(tmp_path)
    for name, fraction in damaged.items():
        path = tmp_path / f"{name}.pth"
        path.write_bytes(path.read_bytes()[: int(fraction * path.stat().st_size)])
    with caplog.at_level(logging.WARNING):
        checkpointer.resume_or_load("", resume=True)
    assert checkpointer.checkpointables["counter"].steps == steps
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 2 - steps
    assert all("is skipped" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("names", "removed", "steps", "told"),
    [
        ("model_final.pth", "model_final.pth", 1, "names model_final.pth, which is not there"),
        ("model_0000099.pth", None, 2, "names model_0000099.pth, which is not there"),
        ("", None, 2, "is missing or empty"),
        (None, None, 2, "is missing or empty"),
        (None, "model_final.pth", 1, "is missing or empty"),
    ],
)
def test_sound_checkpoints_are_found_without_last_checkpoint(tmp_path, caplog, names, removed, steps, told):
    checkpointer = checkpointer_of(tmp_path)
    (tmp_path / "last_checkpoint").unlink()
    if names is not None:
        (tmp_path / "last_checkpoint").write_text(names)
    if removed is not None:
        (tmp_path / removed).unlink()
    with caplog.at_level(logging.WARNING):
        checkpointer.resume_or_load("", resume=True)
    assert checkpointer.checkpointables["counter"].steps == steps
    assert [told in record.getMessage() for record in caplog.records] == [True]


def test_a_checkpoint_may_have_any_name(tmp_path):
    checkpointer = checkpointer_of(tmp_path)
    (tmp_path / "model_final.pth").rename(tmp_path / "best.pth")
    (tmp_path / "last_checkpoint").write_text("best.pth")
    checkpointer.resume_or_load("", resume=True)
    assert checkpointer.checkpointables["counter"].steps == 2


def test_resuming_is_an_error_if_every_checkpoint_is_damaged(tmp_path):
    checkpointer = checkpointer_of(tmp_path)
    for path in tmp_path.glob("*.pth"):
        path.write_bytes(b"PK")
    with pytest.raises(InputError, match=r"every checkpoint in this folder is damaged.*without --resume"):
        checkpointer.resume_or_load("", resume=True)


def test_only_temporary_files_of_a_killed_process_are_removed(tmp_path):
    checkpointer = checkpointer_of(tmp_path)
    kept = set(tmp_path.iterdir())
    for name in (".model_0000003.123.pth", ".model_inference.9.pth", ".last_checkpoint.77"):
        (tmp_path / name).write_bytes(b"half")
    checkpointer.remove_partial()
    assert set(tmp_path.iterdir()) == kept
