"""At step 0 the model equals CLIP, and every trainable parameter gets a gradient."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from sgovss.modeling.cost_volume import correlate
from sgovss.modeling.decoder import upsample
from tests.modeling.conftest import make_batch, train_steps


def plain_clip_cost(clip, kind, images, text) -> torch.Tensor:
    """CLIP's own modules, location by location, without any of sgovss."""
    visual = clip.visual
    if kind == "convnext":
        features = visual.trunk.forward_features(images)
        height, width = features.shape[-2:]
        rows = []
        for y in range(height):
            for x in range(width):
                pooled = visual.trunk.forward_head(features[:, :, y : y + 1, x : x + 1])
                rows.append(visual.head(pooled))
        dense = torch.stack(rows, dim=1)
    else:
        height, width = (side // 16 for side in images.shape[-2:])
        x = visual._embeds(images)
        *blocks, last = visual.transformer.resblocks
        for block in blocks:
            x = block(x)
        weight, bias = last.attn.in_proj_weight[-48:], last.attn.in_proj_bias[-48:]
        value = last.attn.out_proj(F.linear(last.ln_1(x), weight, bias))
        dense = (visual.ln_post(value) @ visual.proj)[:, 1:]
    cosine = F.normalize(dense, dim=-1) @ text.T
    return cosine.transpose(1, 2).reshape(len(images), len(text), height, width)


@torch.no_grad()
def test_cost_map_equals_plain_clip(clip, kind, model, vocabulary):
    images = torch.randn(2, 3, 64, 64)
    text = F.normalize(clip.encode_text(model.text_embedder.tokenizer(["a RS photo of road", "a RS photo of tree"])))
    cost, refined_text, refined = model.head.cost_map(model.image_encoder(images), text)
    torch.testing.assert_close(cost, plain_clip_cost(clip, kind, images, text), atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(refined_text[0], text)
    for name, features in model.image_encoder(images).items():
        torch.testing.assert_close(refined[name], features)


@torch.no_grad()
def test_logits_are_an_increasing_affine_map_of_the_upsampled_cost(model, vocabulary):
    levels = model.image_encoder(torch.randn(1, 3, 64, 96))
    text = model.text_embedder(vocabulary).embeddings
    cost = model.head.cost_map(levels, text)[0]
    logits = model.head(levels, text)
    upsampled = upsample(upsample(upsample(cost)))
    torch.testing.assert_close(logits, 20 * upsampled - 5, atol=1e-4, rtol=1e-5)
    assert (logits.argmax(1) == upsampled.argmax(1)).float().mean() > 0.999  # ties may turn


def test_every_trainable_parameter_learns_within_three_steps(model, vocabulary):
    batch = make_batch(vocabulary)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    moved = set()
    for _ in range(3):
        optimizer.zero_grad()
        sum(model(batch).values()).backward()
        moved |= {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        optimizer.step()
    assert {name for name, p in model.named_parameters() if p.requires_grad} - moved == set()


def test_total_compensation_is_exactly_zero_at_step_0_and_not_later(model, vocabulary):
    history = train_steps(model, make_batch(vocabulary), steps=2)
    total = [sum(value for name, value in losses.items() if name.startswith("loss_gc")) for losses in history]
    assert total[0] == 0.0
    assert total[1] > 0.0


def test_training_lowers_the_loss(model, vocabulary):
    history = train_steps(model, make_batch(vocabulary), steps=12)
    assert history[-1]["loss_pixel"] < 0.9 * history[0]["loss_pixel"]


def test_zeroing_the_bias_changes_text_and_visual_maps_after_training(model, vocabulary):
    train_steps(model, make_batch(vocabulary), steps=6, rate=0.01)
    refinement = model.head.refinement
    levels = {name: x.detach() for name, x in model.image_encoder(torch.randn(1, 3, 64, 64)).items()}
    text = model.text_embedder(vocabulary).embeddings
    with torch.no_grad():
        with_bias, maps, _ = refinement(text, levels)
        handle = refinement.bias.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
        without, maps_without, _ = refinement(text, levels)
        handle.remove()
    assert (with_bias - without).abs().max() > 1e-5
    for name, features in maps.items():
        assert (features - maps_without[name]).abs().max() > 1e-5, name


@torch.no_grad()
def test_at_inference_the_correlation_interpolates_between_text_and_refined_text(model, vocabulary):
    with torch.enable_grad():
        train_steps(model, make_batch(vocabulary), steps=6, rate=0.01)
    head = model.head
    levels = model.image_encoder(torch.randn(1, 3, 64, 64))
    text = model.text_embedder(vocabulary).embeddings
    head.text_share = 0.25
    while_training, refined_text, refined_in_training = head.train().cost_map(levels, text)
    cost, refined_for_the_decoder, refined = head.eval().cost_map(levels, text)
    assert (refined_text - text).abs().max() > 1e-5
    assert torch.equal(refined_for_the_decoder, refined_text)
    assert all(torch.equal(refined[name], refined_in_training[name]) for name in refined)
    assert torch.equal(while_training, correlate(refined["dense"], refined_text))
    torch.testing.assert_close(cost, correlate(refined["dense"], text + (refined_text - text) / 4))
