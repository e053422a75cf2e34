"""Half precision: its effect on results, which is the same when weights are cast in advance."""

import contextlib
import warnings

import numpy as np
import pytest
import torch

import sgovss
from sgovss.errors import InputError
from sgovss.precision import autocast, cast_weights, cuda_kernels, fast_precision
from sgovss.synthetic import generate_image

WORDS = "building, road, tree|forest, water, farmland, bare ground, ship, car"


def predictor(*options, **named):
    return sgovss.Predictor("sgovss_tiny.yaml", options=("MODEL.DEVICE", "cpu", *options), **named)


def test_bfloat16_changes_few_labels_and_scores_little():
    full, half = predictor(), predictor(precision="bfloat16")
    changed, largest = [], 0.0
    for seed in range(4):
        image = generate_image(seed, size=256, style="b").image
        ours, theirs = full(image, WORDS), half(image, WORDS)
        changed.append(np.mean(ours.labels != theirs.labels))
        largest = max(largest, np.abs(ours.scores - theirs.scores).max())
    # Without fine-tuning many pixels lie between two classes; 2.7 % change, with it 1.1 %.
    assert 0 < np.mean(changed) < 0.04
    assert largest < 0.03


def test_weights_cast_ahead_give_what_autocast_gives():
    ahead, during = predictor(precision="bfloat16"), predictor()
    during.model.precision = "bfloat16"
    image = generate_image(9, size=128, style="b").image
    ours, theirs = ahead(image, WORDS), during(image, WORDS)
    assert np.array_equal(ours.scores, theirs.scores)
    weights = [part.weight.dtype for part in ahead.model.head.modules() if isinstance(part, torch.nn.Conv2d)]
    assert set(weights) == {torch.bfloat16}


def test_the_config_says_what_to_compute_in_unless_the_caller_does():
    assert predictor("TEST.PRECISION", "bfloat16").model.precision == "bfloat16"
    assert predictor("TEST.PRECISION", "bfloat16", precision="float32").model.precision == "float32"
    assert predictor(precision="auto").model.precision == fast_precision(torch.device("cpu"))
    assert predictor().fingerprint != predictor(precision="bfloat16").fingerprint


@pytest.mark.parametrize(("feature", "expected"), [("avx512_bf16", "bfloat16"), ("avx2", "float32"), (None, "float32")])
def test_a_processor_without_bfloat16_keeps_to_float32(monkeypatch, feature, expected):
    if feature is None:
        monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)  # as in an older torch
    else:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {feature: True}, raising=False)
    assert fast_precision(torch.device("cpu")) == expected


def test_an_old_gpu_computes_in_float16(monkeypatch):
    """It emulates bfloat16, which torch counts as supported unless asked."""
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    for native, expected in ((True, "bfloat16"), (False, "float16")):
        answer = lambda including_emulation=True, native=native: including_emulation or native  # noqa: E731
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", answer)
        assert fast_precision(torch.device("cuda")) == expected


def kernels_now() -> tuple:
    backends = torch.backends
    return backends.cuda.matmul.fp32_precision, backends.cudnn.conv.fp32_precision, backends.cudnn.benchmark


@pytest.mark.parametrize("tf32", [True, False])
def test_the_choice_of_kernels_ends_with_its_context(tf32):
    before, cuda, precision = kernels_now(), torch.device("cuda"), "tf32" if tf32 else "ieee"
    with pytest.raises(KeyError), cuda_kernels(cuda, tf32=tf32, benchmark=True):
        assert kernels_now() == (precision, precision, True)
        with cuda_kernels(cuda, tf32=not tf32, benchmark=False):
            assert kernels_now() == ("ieee" if tf32 else "tf32",) * 2 + (False,)
        assert kernels_now() == (precision, precision, True)
        raise KeyError
    assert kernels_now() == before
    with cuda_kernels(torch.device("cpu"), tf32=tf32, benchmark=True):
        assert kernels_now() == before


def test_no_choice_of_kernels_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with cuda_kernels(torch.device("cuda"), tf32=True, benchmark=True):
            pass


def test_inference_uses_tf32_only_if_asked():
    asked = [predictor(*options).model.tf32 for options in ((), ("TEST.TF32", "True"))]
    assert asked == [False, True]


def test_what_cannot_be_computed_in_is_named():
    with pytest.raises(InputError, match="'int8' is no precision; give one of"):
        autocast("int8", torch.device("cpu"))
    with pytest.raises(InputError, match="float16 needs a CUDA device"):
        autocast("float16", torch.device("cpu"))


def test_float32_stays_as_it_is():
    layer = torch.nn.Linear(2, 2)
    before = layer.weight.clone()
    cast_weights(layer, "float32")
    assert torch.equal(layer.weight, before)
