"""Layers and encoders on their own."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import open_clip
import pytest
import torch
from torch import nn

from sgovss.config import load_config
from sgovss.errors import InputError
from sgovss.modeling import CLIPImageEncoder, chunks
from sgovss.modeling.conv_tower import ConvTower
from sgovss.modeling.decoder import ClassAttention, MultiscaleDecoder
from sgovss.modeling.layers import Attention, ZeroGate
from sgovss.modeling.templates import NAMES, templates_of
from tests.modeling.conftest import TEXT, VISION, make_clip, make_encoder, make_head


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 64), (96, 128)])
def test_encoder_shapes_are_what_it_declares(encoder, size):
    maps = encoder(torch.randn(2, 3, *size))
    for name, shape in encoder.output_shape().items():
        assert maps[name].shape == (2, shape.channels, size[0] // shape.stride, size[1] // shape.stride)


@torch.no_grad()
def test_vit_blocks_equal_open_clips(kind, clip, encoder):
    if kind != "vit":
        pytest.skip("for the transformer only")
    images = torch.randn(2, 3, 64, 64)
    expected = clip.visual.forward_intermediates(images, indices=[0, 1, 2])["image_intermediates"]
    maps = encoder(images)
    for name, features in zip(("res3", "res4", "res5"), expected, strict=True):
        torch.testing.assert_close(maps[name], features, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("layers", "ends"), [(4, (1, 2, 3)), (6, (2, 4, 5)), (9, (3, 6, 8)), (12, (4, 8, 11))])
def test_vit_levels_follow_a_third_two_thirds_and_all_but_one_of_the_blocks(layers, ends):
    torch.manual_seed(0)
    vision = {"image_size": 32, "layers": layers, "width": 16, "head_width": 8, "patch_size": 16}
    clip = open_clip.CLIP(8, vision, TEXT).eval()
    images = torch.randn(1, 3, 32, 48)
    tower = make_encoder(clip, "none").tower
    seen = [block.register_forward_hook(lambda *found: outputs.append(found[-1])) for block in tower.blocks]
    outputs: list[torch.Tensor] = []
    maps = tower(images)
    assert len(outputs) == len(seen) == layers - 1
    for name, end in zip(("res3", "res4", "res5"), ends, strict=True):
        assert torch.equal(maps[name], outputs[end - 1][:, 1:].transpose(1, 2).unflatten(2, (2, 3)))


@torch.no_grad()
@pytest.mark.parametrize(("size", "tokens", "padded"), [((64, 64), 17, 32), ((32, 80), 11, 16), ((48, 80), 16, 16)])
def test_half_precision_pads_the_tokens_to_a_multiple_of_16(size, tokens, padded):
    tower = make_encoder(make_clip("vit"), "none").tower
    counts = []
    tower.blocks[0].register_forward_pre_hook(lambda _, inputs: counts.append((inputs[0].shape[1], inputs[1])))
    tower(torch.randn(1, 3, *size))
    with torch.autocast("cpu", torch.bfloat16):
        tower(torch.randn(1, 3, *size))
    assert counts == [(tokens, tokens), (padded, tokens)]


@torch.no_grad()
def test_convolutional_dense_map_of_one_location_is_the_image_embedding(kind, clip, encoder):
    if kind != "convnext":
        pytest.skip("for convolutional towers only")
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(encoder(images)["dense"][..., 0, 0], clip.encode_image(images), atol=1e-5, rtol=1e-5)


def test_tuning_chooses_the_parameters(kind, clip):
    trainable = {}
    for tuning in ("full", "none", *(["attention"] if kind == "vit" else [])):
        encoder = CLIPImageEncoder(visual=copy.deepcopy(clip).visual, tuning=tuning)
        trainable[tuning] = {name for name, p in encoder.named_parameters() if p.requires_grad}
    assert trainable["none"] == set()
    assert len(trainable["full"]) == len(list(encoder.parameters()))
    if kind == "vit":
        assert all(".query." in name or ".value." in name for name in trainable["attention"])
        assert len(trainable["attention"]) == 3 * 4 + 2


def test_tuning_that_cannot_be_is_an_error(clip, kind):
    with pytest.raises(InputError, match=r"MODEL\.CLIP\.TUNING"):
        CLIPImageEncoder(visual=clip.visual, tuning="attention" if kind == "convnext" else "everything")


def test_encoder_stays_in_inference_mode(encoder):
    encoder.train()
    assert not any(module.training for module in encoder.modules())


def test_towers_without_dense_maps_are_refused():
    for vision in (
        {**VISION["vit"], "attentional_pool": True, "attn_pooler_heads": 2},
        {**VISION["vit"], "layers": [1, 1, 1, 1]},
    ):
        visual = open_clip.CLIP(32, {"image_size": 64, **vision}, TEXT).visual
        with pytest.raises(InputError, match=r"MODEL\.CLIP\.NAME"):
            CLIPImageEncoder(visual=visual, tuning="none")


@torch.no_grad()
def test_attention_with_one_key_depends_on_the_query():
    torch.manual_seed(0)
    attention = Attention(16, 2)
    taken = attention(torch.randn(1, 5, 16), torch.randn(1, 1, 16))
    assert (taken[0, 0] - taken[0, 1]).abs().max() > 1e-3


def test_zero_gate_starts_as_nothing_and_learns():
    gate = ZeroGate(4, axis=1)
    x = torch.randn(2, 4, 3)
    assert gate(x).abs().max() == 0
    gate(x).sum().backward()
    assert gate.scale.grad.abs().min() > 0


@torch.no_grad()
def test_class_attention_is_the_formula():
    torch.manual_seed(0)
    layer = ClassAttention(8, 6, heads=2).eval()
    q, k, v = torch.rand(1, 1, 1, 5, 8), torch.rand(1, 1, 1, 5, 8), torch.randn(1, 1, 1, 5, 8)
    result = layer._attend(q, k, v)[0, 0, 0]
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        weights = q[0, 0, 0, :, part] @ k[0, 0, 0, :, part].T
        expected = weights / weights.sum(dim=1, keepdim=True) @ v[0, 0, 0, :, part]
        torch.testing.assert_close(result[:, part], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("images", "names", "at_once"),
    [
        *((images, 7, at_once) for images in (1, 2) for at_once in (1, 300, 2000, 10**7)),
        (1, 150, 10**4),
        (2, 1000, 10**5),
    ],
)
def test_classes_a_few_at_a_time_give_what_all_give(monkeypatch, images, names, at_once):
    """With gradients all classes are processed together; without, in chunks."""
    torch.manual_seed(0)
    model = MultiscaleDecoder(guidance=4, text=6, dims=(8, 8, 4), heads=2, kernel=3, text_guidance=True)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    cost, text = torch.randn(images, names, 3, 5), torch.randn(images, names, 6)
    guidance = [torch.randn(images, 4, 3 * 2**i, 5 * 2**i) for i in range(3)]
    together = model(cost, guidance, text)
    monkeypatch.setitem(chunks._MOST_ELEMENTS, "cpu", at_once)
    with torch.no_grad():
        torch.testing.assert_close(model(cost, guidance, text), together)


@torch.no_grad()
def test_decoder_gives_eight_times_the_resolution():
    model = MultiscaleDecoder(guidance=4, text=6, dims=(8, 8, 4), heads=2, kernel=3, text_guidance=True)
    guidance = [torch.randn(2, 4, 3 * 2**i, 5 * 2**i) for i in range(3)]
    maps = model(torch.randn(2, 7, 3, 5), guidance, torch.randn(2, 7, 6))
    assert [each.shape for each in maps] == [(2, 7, 6, 10), (2, 7, 12, 20), (2, 7, 24, 40)]


@pytest.mark.parametrize(
    ("off", "gone"),
    [
        ("bias_guidance", "refinement."),
        ("text_guidance", ".classes."),
        ("visual_guidance", "guide"),
        ("decoder", "decoder."),
    ],
)
def test_each_part_can_be_switched_off(encoder, embedder, vocabulary, off, gone):
    head = make_head(encoder.output_shape(), **{off: False})
    assert any(gone in name for name, _ in make_head(encoder.output_shape()).named_parameters())
    assert not any(gone in name for name, _ in head.named_parameters())
    text = embedder(vocabulary).embeddings
    levels = encoder(torch.randn(1, 3, 64, 64))
    logits = head(levels, text)
    factor = 1 if off == "decoder" else 8
    assert logits.shape == (1, len(text), *(factor * side for side in levels["dense"].shape[-2:]))


def test_wrong_decoder_widths_are_named():
    with pytest.raises(InputError, match="DECODER_DIMS"):
        load_config("sgovss_tiny.yaml", ["MODEL.SGOVSS.HEADS", "2", "MODEL.SGOVSS.DECODER_DIMS", "[16,15,8]"])


def test_template_sets():
    assert len(templates_of("imagenet")) == 80
    assert templates_of("paper") == ("a RS photo of {}",)
    assert all(template.count("{}") == 1 for name in NAMES for template in templates_of(name))
    for name in NAMES:
        cfg = load_config("sgovss_tiny.yaml", ["MODEL.CLIP.TEMPLATES", name])
        assert name == cfg.MODEL.CLIP.TEMPLATES
    with pytest.raises(InputError, match=r"MODEL\.CLIP\.TEMPLATES: 'none' is not allowed; .*imagenet"):
        load_config("sgovss_tiny.yaml", ["MODEL.CLIP.TEMPLATES", "'none'"])


@torch.no_grad()
def test_embeddings_average_the_templates(clip, embedder):
    from sgovss.modeling.text_embedder import TextEmbedder
    from sgovss.vocabulary import Vocabulary

    templates = ("a photo of {}", "an aerial view of {}")
    both = TextEmbedder(clip=copy.deepcopy(clip), tokenizer=embedder.tokenizer, templates=templates)
    prompts = [template.format("road") for template in templates]
    expected = clip.encode_text(embedder.tokenizer(prompts), normalize=True).mean(dim=0)
    found = both(Vocabulary.from_string("road")).embeddings[0]
    torch.testing.assert_close(found, expected / expected.norm())


@torch.no_grad()
def test_what_half_precision_adds_to_the_tokens_changes_nothing(kind, encoder, monkeypatch):
    if kind != "vit":
        pytest.skip("for the transformer only")
    block = encoder.tower.blocks[0]
    tokens, noise = torch.randn(2, 17, 48), torch.randn(2, 15, 48)
    added = block(torch.cat([tokens, noise], dim=1), 17)[:, :17]
    torch.testing.assert_close(added, block(tokens, 17), atol=1e-6, rtol=1e-6)
    images = torch.randn(1, 3, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        found = encoder(images)
        monkeypatch.setattr("sgovss.modeling.vit_tower._ROWS", 1)
        expected = encoder(images)
    for name in expected:
        assert found[name].shape == expected[name].shape
        torch.testing.assert_close(found[name], expected[name], atol=0.05, rtol=0.05)


def test_a_trunk_whose_head_normalises_over_the_batch_is_built_in_training_mode():
    class Trunk(nn.Module):
        feature_info = tuple({"reduction": stride, "num_chs": 8} for stride in (4, 8, 16, 32))
        num_features = 8

        def __init__(self) -> None:
            super().__init__()
            self.forward_head = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(8))

    tower = ConvTower(SimpleNamespace(trunk=Trunk(), head=nn.Linear(8, 5)))
    assert tower.shapes["dense"].channels == 5
    assert tower.training and tower.trunk.training
    assert not tower.trunk.forward_head[1].num_batches_tracked
