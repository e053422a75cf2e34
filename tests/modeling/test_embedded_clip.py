"""The embedded model equals open_clip's of the same configuration, whether its text encoder is built or not."""

import copy

import pytest
import timm
import torch

from sgovss.fingerprint import fingerprint
from sgovss.modeling.conv_tower import ConvTower
from sgovss.modeling.efficientnet import SCALES, EfficientNetLite
from sgovss.modeling.embedded_clip import EmbeddedClip
from sgovss.modeling.layers import ChannelNorm
from sgovss.modeling.open_clip_models import create_model, create_tokenizer


@pytest.fixture(scope="module")
def reference() -> torch.nn.Module:
    """open_clip's model with the weights of the embedded one."""
    model = create_model("tiny").eval()
    model.visual.load_state_dict(EmbeddedClip(pretrained=True).visual.state_dict())
    return model


@pytest.fixture
def embedded() -> EmbeddedClip:
    return EmbeddedClip(pretrained=True).eval()


@pytest.mark.parametrize("size", [(64, 64), (37, 90), (1, 33), (100, 31)])
@torch.no_grad()
def test_the_image_tower_equals_open_clips(reference, embedded, size):
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    assert torch.equal(embedded.visual(images), reference.visual(images))
    towers = [ConvTower(copy.deepcopy(each.visual)).eval() for each in (embedded, reference)]
    levels, expected = (tower(images) for tower in towers)
    assert levels.keys() == expected.keys()
    assert all(torch.equal(levels[name], expected[name]) for name in levels)
    assert towers[0].shapes == towers[1].shapes


@pytest.mark.parametrize("name", SCALES)
@torch.no_grad()
def test_a_trunk_of_each_scale_is_timms(name):
    torch.manual_seed(0)
    own, other = EfficientNetLite(SCALES[name]).eval(), timm.create_model(name, num_classes=0).eval()
    assert {key: x.shape for key, x in own.state_dict().items()} == {
        key: x.shape for key, x in other.state_dict().items()
    }
    for key, value in own.state_dict().items():
        if value.numel() > 1000:  # random weights have timm's spread
            assert float(value.std()) == pytest.approx(float(other.state_dict()[key].std()), rel=0.15), key
    own.load_state_dict(other.state_dict())
    images = torch.randn(2, 3, 70, 97)
    torch.testing.assert_close(own(images), other(images))
    maps, expected = (trunk.forward_intermediates(images, indices=[2, 3, 4])[1] for trunk in (own, other))
    assert all(torch.equal(*pair) for pair in zip(maps, expected, strict=True))


def test_blocks_can_be_recomputed():
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(0)
        trunk = EfficientNetLite(SCALES["tf_efficientnet_lite1"]).eval()
        if recompute:
            trunk.set_grad_checkpointing()
        trunk(torch.ones(1, 3, 64, 64)).sum().backward()
        gradients.append(trunk.conv_stem.weight.grad)
    torch.testing.assert_close(*gradients)


def test_channel_norm_equals_timms():
    x = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ChannelNorm(5)(x), timm.layers.LayerNorm2d(5)(x))


def test_the_state_dict_is_open_clips_before_and_after_the_text_encoder_is_built(reference, embedded):
    expected = reference.state_dict()
    identity = embedded.identity()
    before = embedded.state_dict()
    assert embedded.text is None
    embedded.build_text()
    for found in (before, embedded.state_dict()):
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], value) for key, value in expected.items())
    assert embedded.identity() == identity
    assert fingerprint(embedded) == fingerprint(reference)


def test_building_the_text_encoder_takes_no_random_numbers(embedded):
    """A training would otherwise depend on whether the words of its classes are kept on disk."""
    state = torch.get_rng_state()
    embedded.build_text()
    assert torch.equal(torch.get_rng_state(), state)


@torch.no_grad()
def test_the_text_encoder_equals_open_clips(reference, embedded):
    tokens = create_tokenizer("tiny")(["road", "a RS photo of a very small town", ""])
    for normalize in (False, True):
        assert torch.equal(embedded.encode_text(tokens, normalize), reference.encode_text(tokens, normalize))


@torch.no_grad()
def test_weights_that_are_loaded_before_it_is_built_count(reference, embedded):
    tokens = create_tokenizer("tiny")(["road", "water"])
    state = {key: value * 1.01 if value.is_floating_point() else value for key, value in reference.state_dict().items()}
    other = copy.deepcopy(reference)
    other.load_state_dict(state)
    identity = embedded.identity()
    embedded.load_state_dict(state)
    assert embedded.text is None and embedded.identity() != identity
    assert torch.equal(embedded.encode_text(tokens), other.encode_text(tokens))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state, key: state.pop(key), "Missing key"),
        (lambda state, key: state.update({key + "2": state[key]}), "Unexpected key"),
        (lambda state, key: state.update({key: state[key][:1]}), "another shape"),
    ],
)
def test_a_state_dict_that_does_not_fit_is_refused_before_it_is_built(embedded, change, message):
    state = embedded.state_dict()
    change(state, "text.transformer.embeddings.word_embeddings.weight")
    with pytest.raises(RuntimeError, match=message):
        embedded.load_state_dict(state)
