"""Smoothing along edges, against the guided filter written out for each neighbourhood."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sgovss.modeling import guided_filter
from sgovss.modeling.guided_filter import smooth_along_edges


def reference(maps: np.ndarray, colors: np.ndarray, radius: int, smoothing: float = 1e-3) -> np.ndarray:
    """(T, h, w) of (T, h, w) and (3, h, w): least squares in each neighbourhood, then the mean of all functions."""
    height, width = colors.shape[1:]
    total, count = np.zeros_like(maps, float), np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            part = slice(max(y - radius, 0), y + radius + 1), slice(max(x - radius, 0), x + radius + 1)
            seen, scores = (
                colors[(slice(None), *part)].reshape(3, -1),
                maps[(slice(None), *part)].reshape(len(maps), -1),
            )
            middle, level = seen.mean(axis=1), scores.mean(axis=1)
            apart = seen - middle[:, None]
            covariance = apart @ apart.T / seen.shape[1] + smoothing * np.eye(3)
            slopes = np.linalg.solve(covariance, apart @ (scores - level[:, None]).T / seen.shape[1])
            fitted = level[:, None] + slopes.T @ apart
            total[(slice(None), *part)] += fitted.reshape(len(maps), *colors[(0, *part)].shape)
            count[part] += 1
    return np.clip(total / count, 0, 1)


@pytest.mark.parametrize(("shape", "radius", "classes"), [((12, 15), 2, 3), ((9, 8), 16, 1), ((1, 20), 3, 2)])
def test_each_cell_gets_the_mean_of_the_fits_around_it(shape, radius, classes):
    rng = np.random.default_rng(radius)
    maps = rng.random((2, classes, *shape), np.float32)
    images = rng.integers(0, 256, (2, 3, *shape)).astype(np.float32)
    found = smooth_along_edges(torch.from_numpy(maps), torch.from_numpy(images), radius)
    for one, image, smoothed in zip(maps, images, found, strict=True):
        assert smoothed.numpy() == pytest.approx(reference(one, image / 255, radius), abs=2e-4)


@pytest.mark.parametrize("step", [8, 30, 120])
def test_steps_at_edges_of_the_image_are_kept_and_noise_is_not(step):
    image = torch.full((1, 3, 160, 160), 100.0)
    image[..., 80:] += step
    truth = torch.zeros(1, 1, 40, 40)
    truth[..., 20:] = 1
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 0.2, truth.shape).astype(np.float32))
    maps = (0.25 + truth / 2 + noise).clamp(0, 1)
    found = smooth_along_edges(maps, image, 8)
    height = float(found[..., 24:].mean() - found[..., :16].mean())
    across = float(found[..., 20].mean() - found[..., 19].mean())
    assert (found - maps).abs().mean() > 0.1 and float(found[..., :14].std()) < 0.1
    if step == 120:
        assert across > 0.8 * height
    if step == 8:
        assert across < 0.5 * height  # too faint to be an edge


def test_even_scores_and_batches_do_not_change_the_result(monkeypatch):
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (3, 3, 64, 96)).astype(np.uint8))
    maps = torch.from_numpy(rng.random((3, 7, 16, 24), np.float32))
    maps[:, 2] = 0.37
    whole = smooth_along_edges(maps, images)
    assert whole[:, 2].numpy() == pytest.approx(0.37, abs=1e-4) and whole.dtype == torch.float32
    alone = torch.cat([smooth_along_edges(maps[i : i + 1], images[i : i + 1]) for i in range(3)])
    assert alone.numpy() == pytest.approx(whole.numpy(), abs=1e-5)
    monkeypatch.setattr(guided_filter, "_CLASSES", 2)
    assert smooth_along_edges(maps, images).numpy() == pytest.approx(whole.numpy(), abs=1e-5)
