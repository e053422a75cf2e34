"""Generalization compensation: zero for equal maps, positive otherwise, insensitive to fine detail."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from sgovss.config import load_config
from sgovss.errors import InputError
from sgovss.modeling.compensation import GeneralizationCompensation

SIDES = {"res3": 32, "res4": 16, "res5": 8, "dense": 8}


def maps(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(2, 6, side, side, generator=generator) for name, side in SIDES.items()}


def compensation(**changes) -> GeneralizationCompensation:
    settings = {"weights": (1.0, 1.0, 1.0, 1.0), "pool": 2, "labelled": 1.0, "least_share": 0.1}
    return GeneralizationCompensation(**{**settings, **changes})


def losses(soft: GeneralizationCompensation, tuned, frozen, labelled=None, classes=1) -> dict[str, torch.Tensor]:
    """The losses of some maps, by default with no label on any pixel."""
    return soft(tuned, frozen, torch.zeros(2, 64, 64, dtype=torch.bool) if labelled is None else labelled, classes)


def test_zero_for_identical_and_positive_for_different_maps():
    same = losses(compensation(), maps(0), maps(0))
    assert set(same) == {"loss_gc3", "loss_gc4", "loss_gc5", "loss_gcd"}
    assert all(loss.item() == 0.0 for loss in same.values())
    assert all(loss.item() > 0.0 for loss in losses(compensation(), maps(0), maps(1)).values())


def test_blind_to_high_frequencies_where_a_plain_distance_is_not():
    frozen = maps(0)
    side = SIDES["res3"]
    checkerboard = (torch.arange(side)[:, None] + torch.arange(side)) % 2 * 2.0 - 1.0
    smooth = torch.linspace(-1, 1, side).expand(side, side)
    low, high = ({**frozen, "res3": frozen["res3"] + change} for change in (smooth, checkerboard))

    def plain(tuned) -> torch.Tensor:
        """The same distance without low-pass filter and pooling."""
        return (1 - F.cosine_similarity(tuned["res3"], frozen["res3"])).mean()

    def soft(tuned) -> torch.Tensor:
        return losses(compensation(), tuned, frozen)["loss_gc3"]

    assert plain(high) > plain(low)
    assert soft(high) < 1e-3 * plain(high)
    assert soft(low) > 20 * soft(high)


@pytest.mark.parametrize(("shape", "grid"), [((8, 12), (4, 6)), ((9, 7), (4, 3)), ((1, 3), (1, 3))])
def test_coarse_maps_are_those_of_an_independent_filter_and_mean(shape, grid):
    features = torch.randn(2, 3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    smooth = features.numpy()
    for axis in (2, 3):
        smooth = ndimage.convolve1d(smooth, np.array([1, 4, 6, 4, 1]) / 16, axis=axis, mode="nearest")
    rows, columns = ([(i * n // k, -(-(i + 1) * n // k)) for i in range(k)] for n, k in zip(shape, grid, strict=True))
    cells = [[smooth[:, :, a:b, c:d].mean(axis=(2, 3)) for c, d in columns] for a, b in rows]
    expected = torch.from_numpy(np.stack([np.stack(row, axis=-1) for row in cells], axis=-2)).float()
    torch.testing.assert_close(compensation().coarse(features, grid), expected, atol=1e-6, rtol=1e-5)


def test_the_loss_is_the_mean_of_one_minus_cosine_over_the_cells_of_the_coarse_grid():
    tuned, frozen = maps(0), maps(1)
    for pool, grid in ((1, (8, 8)), (3, (2, 2)), (100, (1, 1))):
        soft = compensation(pool=pool, labelled=0.25)
        cells = 1 - F.cosine_similarity(*(soft.coarse(each["res4"], grid) for each in (tuned, frozen)))
        assert cells.shape == (2, *grid)
        # A weighted mean, divided by the number of classes: no label anywhere, a label everywhere, labels in one half.
        torch.testing.assert_close(losses(soft, tuned, frozen)["loss_gc4"], cells.mean(), atol=1e-6, rtol=1e-5)
        every = torch.ones(2, 64, 64, dtype=torch.bool)
        of_labelled = losses(soft, tuned, frozen, every, classes=4)["loss_gc4"]
        torch.testing.assert_close(of_labelled, cells.mean() / 4, atol=1e-6, rtol=1e-5)
        half = torch.arange(64)[None, :, None].expand(2, 64, 64) < 32
        fraction = F.adaptive_avg_pool2d(half[:, None].float(), grid)[:, 0]
        emphasis = 0.25 * fraction + 1 - fraction
        expected = (cells * emphasis).sum() / emphasis.sum()
        of_half = losses(soft, tuned, frozen, half)["loss_gc4"]
        torch.testing.assert_close(of_half, expected, atol=1e-6, rtol=1e-5)


def test_gradient_reaches_the_tuned_maps_only():
    tuned = {name: x.requires_grad_() for name, x in maps(0).items()}
    frozen = maps(1)
    sum(losses(compensation(), tuned, frozen).values()).backward()
    assert all(x.grad.abs().sum() > 0 for x in tuned.values())


def test_weights():
    base = losses(compensation(), maps(0), maps(1))
    assert set(losses(compensation(weights=(0.0, 0.0, 0.0, 1.0)), maps(0), maps(1))) == {"loss_gcd"}
    doubled = losses(compensation(weights=(2.0, 2.0, 2.0, 2.0)), maps(0), maps(1))
    for name, loss in base.items():
        torch.testing.assert_close(doubled[name], 2 * loss)


def test_guidance_can_be_limited_to_pixels_without_labels():
    frozen = {name: torch.ones(2, 6, side, side) for name, side in SIDES.items()}
    tuned = {name: x.clone() for name, x in frozen.items()}
    for x in tuned.values():
        x[..., : x.shape[-1] // 2, :] *= torch.tensor([1.0, -1.0] * 3).view(-1, 1, 1)  # differs in the upper half
    labelled = torch.zeros(2, 256, 256, dtype=torch.bool)
    labelled[:, :128] = True
    free = compensation(labelled=0.0, pool=4)
    every = losses(compensation(pool=4), tuned, frozen, labelled)
    for name, loss in losses(free, tuned, frozen, ~labelled).items():
        # Twice the mean over all cells, of which half have a label. Not exact: the low-pass smears over the border.
        torch.testing.assert_close(loss, 2 * every[name], rtol=0.1, atol=0)
        assert losses(free, tuned, frozen, labelled)[name] < 0.1 * loss
        assert losses(free, tuned, frozen, torch.ones_like(labelled))[name].item() == 0.0


def test_guidance_of_few_pixels_does_not_have_the_strength_of_guidance_of_all():
    tuned, frozen, free = maps(0), maps(1), compensation(labelled=0.0, pool=1)
    labelled = torch.ones(2, 64, 64, dtype=torch.bool)
    labelled[0, :8, :8] = False  # one cell of 128
    cell = 1 - F.cosine_similarity(*(free.coarse(each["res4"], (8, 8)) for each in (tuned, frozen)))[0, 0, 0]
    found = losses(free, tuned, frozen, labelled)["loss_gc4"]
    torch.testing.assert_close(found, cell / (0.1 * 128), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("wrong", [{"weights": (1.0,)}, {"pool": 0}, {"labelled": -1.0}])
def test_wrong_settings_are_named(wrong):
    with pytest.raises(InputError, match="COMPENSATION"):
        compensation(**wrong)
    ((name, value),) = wrong.items()
    value = list(value) if isinstance(value, tuple) else value
    with pytest.raises(InputError, match=f"COMPENSATION.{name.upper()}: .* is not allowed"):
        load_config("sgovss_tiny.yaml", [f"MODEL.SGOVSS.COMPENSATION.{name.upper()}", str(value)])
