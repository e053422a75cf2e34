"""Options that save time or memory give equal results, or results with a known difference."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import sgovss
from sgovss.config import load_config
from sgovss.errors import InputError
from sgovss.modeling import SGOVSS, CLIPImageEncoder
from sgovss.modeling.compensation import GeneralizationCompensation
from sgovss.synthetic import generate_image
from tests.modeling.conftest import TUNING, make_batch, make_head, train_steps


def gradients(model, batch):
    torch.manual_seed(3)  # which synonym is drawn
    losses = model(batch)
    sum(losses.values()).backward()
    return losses, {name: each.grad for name, each in model.named_parameters() if each.grad is not None}


def trained(model, batch):
    """Gates start at zero; a few steps open them."""
    train_steps(model, batch, steps=3, rate=0.01)
    model.zero_grad()
    return model


def test_recomputing_gives_the_same_losses_and_gradients(model, clip, kind, vocabulary):
    batch = make_batch(vocabulary)
    plain = trained(model, batch)
    frugal = copy.deepcopy(plain)
    tower = CLIPImageEncoder(visual=copy.deepcopy(clip).visual, tuning=TUNING[kind], recompute=True)
    tower.load_state_dict(plain.image_encoder.state_dict())
    frugal.image_encoder, frugal.head.decoder.recompute = tower, True
    calls = []
    frugal.head.decoder.stages[0].register_forward_pre_hook(lambda *_: calls.append("stage"))
    losses, expected = gradients(plain, batch)
    again, found = gradients(frugal, batch)
    assert calls == ["stage"] * 2  # forward, and once more going back
    torch.testing.assert_close(again, losses)
    assert found.keys() == expected.keys()
    torch.testing.assert_close(found, expected)


def rebuilt(model, **changes):
    settings = {name: getattr(model, name) for name in ("text_embedder", "head", "objective", "view")}
    settings |= {"pixel_mean": [120.0, 115.0, 105.0], "pixel_std": [60.0, 60.0, 60.0]}
    guidance = GeneralizationCompensation(weights=(1.0, 1.0, 1.0, 1.0), pool=2, labelled=1.0, least_share=0.1)
    encoder = copy.deepcopy(model.image_encoder)
    return SGOVSS(image_encoder=encoder, compensation=guidance, **{**settings, **changes}).train()


def test_a_frozen_encoder_in_half_precision_errs_by_little(model, vocabulary):
    batch = make_batch(vocabulary)
    half = rebuilt(model, frozen_precision="bfloat16")
    levels = ("loss_gc3", "loss_gc4", "loss_gc5", "loss_gcd")
    first = half(batch)
    assert all(0 < first[name] < 2e-4 for name in levels)  # 0 exactly in full precision
    full = rebuilt(model)
    train_steps(full, batch, steps=5, rate=0.01)
    half.load_state_dict(full.state_dict())
    ours, theirs = half(batch), full(batch)
    for name in levels:
        assert theirs[name] > 0.005
        torch.testing.assert_close(ours[name], theirs[name], rtol=0.03, atol=2e-4)


@pytest.fixture
def heads(encoder, model, vocabulary):
    """A head whose gates are open, and a function that makes its like with early rejection."""
    trained(model, make_batch(vocabulary))
    model.eval()

    def rejecting(count):
        head = make_head(encoder.output_shape(), early_rejection=count).eval()
        head.load_state_dict(model.head.state_dict())
        return head

    return model.head, rejecting


@torch.no_grad()
def test_early_rejection_of_none_is_exact(heads, encoder, embedder, vocabulary):
    head, rejecting = heads
    levels, text = encoder(torch.randn(2, 3, 64, 64)), embedder(vocabulary).embeddings
    expected = head(levels, text)
    torch.testing.assert_close(rejecting(len(text))(levels, text), expected)
    torch.testing.assert_close(rejecting(99)(levels, text), expected)


@torch.no_grad()
def test_early_rejection_decodes_the_best_of_each_image_and_leaves_nothing_to_the_others(heads, encoder):
    head, rejecting = heads
    levels, text = encoder(torch.randn(2, 3, 64, 64)), torch.randn(40, 32)
    text = text / text.norm(dim=-1, keepdim=True)
    cost = head.cost_map(levels, text)[0]
    logits = rejecting(1)(levels, text)
    for image in range(2):
        best = set(cost[image].argmax(dim=0).flatten().tolist())
        kept = {name for name in range(40) if (logits[image, name] > -50).any()}
        assert kept == best and len(kept) < 40
        alone = rejecting(1)({name: level[image : image + 1] for name, level in levels.items()}, text)
        torch.testing.assert_close(alone[0], logits[image])
    head = rejecting(1).train()
    assert (head(levels, text) > -50).all()  # training sees every name


def test_a_negative_number_of_names_is_refused():
    with pytest.raises(InputError, match="EARLY_REJECTION"):
        load_config("sgovss_tiny.yaml", ["TEST.EARLY_REJECTION", "-1"])


def test_early_rejection_keeps_the_labels_of_the_embedded_model():
    words = ", ".join(["building, road, tree, water, farmland, car, ship", *(f"thing number {n}" for n in range(60))])
    predictor = sgovss.Predictor("sgovss_tiny.yaml", options=("MODEL.DEVICE", "cpu", "TEST.EARLY_REJECTION", "4"))
    image = generate_image(4, size=192, style="b").image
    fast = predictor(image, words).labels
    predictor.model.head.early_rejection = 0
    assert np.mean(predictor(image, words).labels != fast) < 0.01
