"""Checkpoints: whole or absent, named when wrong, and applied all or not at all."""

from __future__ import annotations

import pytest
import torch

from sgovss.config import load_config
from sgovss.engine.checkpoint import apply_weights, base_fingerprint, expect_own_weights, read_checkpoint
from sgovss.errors import InputError


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
    ("kind", "weights", "activation"), [("training", "openai", "auto"), ("inference", "random", "quick_gelu")]
)
def test_a_checkpoint_with_all_weights_brings_their_activation(tmp_path, kind, weights, activation):
    """OpenAI's activation is known by the weights' source, which is not asked for again."""
    saved = load_config("sgovss_tiny.yaml", ["MODEL.CLIP.ACTIVATION", "quick_gelu"])
    torch.save({**content_of(Small(), kind, "a"), "config": saved.dump()}, tmp_path / "x.pth")
    cfg = load_config("sgovss_tiny.yaml", ["MODEL.CLIP.WEIGHTS", "openai"])
    expect_own_weights(cfg, tmp_path / "x.pth")
    assert (weights, activation) == (cfg.MODEL.CLIP.WEIGHTS, cfg.MODEL.CLIP.ACTIVATION)


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
def test_tensors_that_do_not_fit_are_named_and_nothing_is_loaded(change, message):
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


def test_fingerprint_follows_the_clip_weights_only():
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
