"""Replayed kernels give the same scores as those that are started one by one."""

from __future__ import annotations

import pytest
import torch

from sgovss.engine.workloads import numbered_classes, random_model
from sgovss.modeling import meta_arch
from tests.cuda.conftest import CONFIG, DEVICE

pytestmark = pytest.mark.cuda


@pytest.fixture(params=("float32", "bfloat16"))
def model(request, monkeypatch):
    """A model, and the number of graphs that it recorded."""
    record, recorded = meta_arch.record_graph, []

    def counted(function, inputs):
        replay = record(function, inputs)
        recorded.append(1)
        return replay

    monkeypatch.setattr(meta_arch, "record_graph", counted)
    options = ("MODEL.CLIP.KEEP_TEXT", "False", "MODEL.DEVICE", DEVICE)
    built, _ = random_model(CONFIG, options, request.param, training=False)
    with torch.no_grad():  # else no layer of the decoder changes the scores
        for name, weight in built.head.named_parameters():
            if "gate" in name:
                weight.fill_(0.5)
    return built, recorded


@torch.no_grad()
def scores(model, seed: int, classes: int, graphs: bool, size: int = 128) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=generator).to(DEVICE)
    model.cuda_graphs = graphs
    return model.scores(images, numbered_classes(classes))


def test_replayed_scores_are_those_of_single_kernels(model):
    built, recorded = model
    for classes, size in ((5, 128), (7, 128), (5, 160)):
        for seed in range(5):
            expected = scores(built, seed, classes, graphs=False, size=size)
            torch.testing.assert_close(scores(built, seed, classes, True, size), expected, atol=1e-6, rtol=0)
    assert len(recorded) == 5  # the encoder for two sizes, the head for three shapes


def test_results_stay_as_they_are_when_the_graph_is_replayed(model):
    built, _ = model
    kept = [scores(built, seed, 5, graphs=True) for seed in range(6)]
    for seed, each in enumerate(kept):
        torch.testing.assert_close(each, scores(built, seed, 5, graphs=False), atol=1e-6, rtol=0)


def test_changed_weights_change_replayed_scores(model):
    built, recorded = model
    before = [scores(built, 0, 5, graphs=True) for _ in range(5)][-1]
    bias = built.head.logit_bias
    with torch.no_grad():
        bias.add_(1)
    after = scores(built, 0, 5, graphs=True)
    assert (after - before).abs().max() > 1e-2
    bias.data = bias.data.clone() + 1
    moved = scores(built, 0, 5, graphs=True)
    torch.testing.assert_close(moved, scores(built, 0, 5, graphs=False), atol=1e-6, rtol=0)
    assert (moved - after).abs().max() > 1e-2 and len(recorded) == 2


def test_a_function_that_waits_for_the_device_is_called_as_it_is(model):
    built, recorded = model

    def wait(head, inputs) -> None:
        head.logit_bias.item()

    built.head.register_forward_pre_hook(wait)
    for seed in range(5):
        expected = scores(built, seed, 5, graphs=False)
        torch.testing.assert_close(scores(built, seed, 5, graphs=True), expected, atol=1e-6, rtol=0)
    assert len(recorded) == 1  # the encoder
