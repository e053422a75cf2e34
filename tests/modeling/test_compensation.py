"""Compensation is soft: zero for equal maps, positive otherwise, blind to fine detail."""

from __future__ import annotations

import pytest
import torch

from sgovss.errors import InputError
from sgovss.modeling.compensation import GeneralizationCompensation

SIDES = {"res3": 32, "res4": 16, "res5": 8, "dense": 8}


def maps(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(2, 6, side, side, generator=generator) for name, side in SIDES.items()}


def compensation(distance: str = "cosine", **changes) -> GeneralizationCompensation:
    settings = {"weights": (1.0, 1.0, 1.0, 1.0), "final_scale": 1.0, "pool": 2, "distance": distance, "labelled": 1.0}
    return GeneralizationCompensation(**{**settings, **changes})


@pytest.mark.parametrize("distance", ["cosine", "smooth_l1"])
def test_zero_for_identical_and_positive_for_different_maps(distance):
    losses = compensation(distance)(maps(0), maps(0))
    assert set(losses) == {"loss_gc3", "loss_gc4", "loss_gc5", "loss_gcd"}
    assert all(loss.item() == 0.0 for loss in losses.values())
    assert all(loss.item() > 0.0 for loss in compensation(distance)(maps(0), maps(1)).values())


@pytest.mark.parametrize("distance", ["cosine", "smooth_l1"])
def test_blind_to_high_frequencies_where_a_plain_distance_is_not(distance):
    frozen = maps(0)
    side = SIDES["res3"]
    checkerboard = (torch.arange(side)[:, None] + torch.arange(side)) % 2 * 2.0 - 1.0
    smooth = torch.linspace(-1, 1, side).expand(side, side)
    soft = compensation(distance)
    plain = compensation(distance, pool=1)
    plain.coarse = lambda features, grid: features  # the same distance without low-pass and pooling
    low, high = ({**frozen, "res3": frozen["res3"] + change} for change in (smooth, checkerboard))
    assert plain(high, frozen)["loss_gc3"] > plain(low, frozen)["loss_gc3"]
    assert soft(high, frozen)["loss_gc3"] < 1e-3 * plain(high, frozen)["loss_gc3"]
    assert soft(low, frozen)["loss_gc3"] > 20 * soft(high, frozen)["loss_gc3"]


def test_gradient_reaches_the_tuned_maps_only():
    tuned = {name: x.requires_grad_() for name, x in maps(0).items()}
    frozen = maps(1)
    sum(compensation()(tuned, frozen).values()).backward()
    assert all(x.grad.abs().sum() > 0 for x in tuned.values())


def test_weights_and_schedule():
    base = compensation()(maps(0), maps(1))
    assert set(compensation(weights=(0.0, 0.0, 0.0, 1.0))(maps(0), maps(1))) == {"loss_gcd"}
    doubled = compensation(weights=(2.0, 2.0, 2.0, 2.0))(maps(0), maps(1))
    fading = compensation(final_scale=0.0)
    for name, loss in base.items():
        torch.testing.assert_close(doubled[name], 2 * loss)
        torch.testing.assert_close(fading(maps(0), maps(1), progress=0.25)[name], 0.75 * loss)
        assert fading(maps(0), maps(1), progress=1.0)[name].item() == 0.0


def test_guidance_can_be_left_to_where_no_label_speaks():
    frozen = {name: torch.ones(2, 6, side, side) for name, side in SIDES.items()}
    tuned = {name: x.clone() for name, x in frozen.items()}
    for x in tuned.values():
        x[..., : x.shape[-1] // 2, :] *= torch.tensor([1.0, -1.0] * 3).view(-1, 1, 1)  # differs in the upper half
    labelled = torch.zeros(2, 256, 256, dtype=torch.bool)
    labelled[:, :128] = True
    free = compensation(labelled=0.0, pool=4)
    everywhere = compensation(pool=4)(tuned, frozen, labelled)
    for name, loss in free(tuned, frozen, ~labelled).items():
        # Not exact: the low-pass smears a little over the border.
        torch.testing.assert_close(loss, everywhere[name], rtol=0.1, atol=0)
        assert free(tuned, frozen, labelled)[name] < 0.1 * loss
        assert free(tuned, frozen)[name].item() == 0.0


@pytest.mark.parametrize("wrong", [{"distance": "euclid"}, {"weights": (1.0,)}, {"pool": 0}, {"labelled": -1.0}])
def test_wrong_settings_are_named(wrong):
    with pytest.raises(InputError, match="COMPENSATION"):
        compensation(**wrong)
