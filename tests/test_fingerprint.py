"""Fingerprints of models: weights and activation functions."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from sgovss.fingerprint import activations, difference, fingerprint
from tests.modeling.published import small_clip


def test_the_same_weights_with_another_activation_are_another_model():
    gelu, quick = fingerprint(small_clip()), fingerprint(small_clip(quick_gelu=True))
    assert difference(gelu, fingerprint(small_clip())) == ""
    assert difference(gelu, quick) == "activation"
    assert difference(gelu, fingerprint(small_clip(seed=1))) == "weights"


def test_a_digest_of_an_older_version_is_compared_by_the_weights():
    old = fingerprint(small_clip()).partition("/")[0]
    assert difference(fingerprint(small_clip(quick_gelu=True)), old) == ""
    assert difference(fingerprint(small_clip(seed=1)), old) == "weights"


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.GELU(), nn.Dropout(), nn.ReLU6()), ["GELU(approximate='none')", "ReLU6()"]),
        (nn.GELU(approximate="tanh"), ["GELU(approximate='tanh')"]),
        (nn.TransformerEncoderLayer(4, 2, activation=functional.gelu), ["gelu"]),
        (nn.MultiheadAttention(4, 2), []),
        (nn.Sequential(nn.SiLU(), nn.Hardswish(), nn.Sigmoid()), ["Hardswish()", "SiLU()", "Sigmoid()"]),
    ],
)
def test_activations_are_found_as_modules_and_as_functions(module, expected):
    assert activations(module) == expected


def test_a_fingerprint_depends_on_every_weight():
    layer = nn.Linear(2, 2)
    before = fingerprint(layer)
    with torch.no_grad():
        layer.bias[1] += 1
    assert fingerprint(layer) != before
