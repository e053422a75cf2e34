"""Blending of windows: exact for local scores, without seams, independent of the strips."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.windows import Window

from sgovss.rasters.blending import WindowBlender
from sgovss.rasters.grid import WindowGrid, hann, strip_width
from sgovss.rasters.source import RasterSource


def local_score(corners, read):
    """A score that depends on each pixel alone, so that it is the same in all windows."""
    images = read(corners).float() / 255
    return torch.stack([images[:, 0], 1 - images[:, 1]], dim=1)


def constant_score(corners, read):
    """A different constant for each window, which is the hardest case for blending."""
    values = [np.random.default_rng([top, left]).random(2) for top, left in corners]
    return torch.tensor(np.array(values), dtype=torch.float32)[..., None, None].expand(
        -1, -1, *read(corners).shape[-2:]
    )


def whole(source, grid, score, **options) -> torch.Tensor:
    """(T, H, W) scores, assembled from the chunks."""
    result = torch.full((2, grid.height, grid.width), torch.nan)
    for strip in range(grid.strips):
        for chunk, scores, _ in WindowBlender(source, grid, 2, score, **options).run(strip):
            result[:, chunk.top : chunk.bottom, chunk.left : chunk.right] = scores
    return result


@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    window=st.integers(1, 48),
    strip=st.integers(16, 100),
    data=st.data(),
)
@settings(max_examples=60)
def test_chunks_cover_the_scene_once_and_windows_cover_every_chunk(size, window, strip, data):
    stride = data.draw(st.integers(1, window))
    grid = WindowGrid(*size, window, stride, strip)
    seen = np.zeros(size, int)
    for chunk in grid.all_chunks():
        seen[chunk.top : chunk.bottom, chunk.left : chunk.right] += 1
        reached = np.zeros(size, bool)
        for row in range(grid.first_row_for(chunk.row), chunk.row + 1):
            for left in grid.lefts_of(chunk):
                reached[grid.tops[row] : grid.tops[row] + grid.shape[0], left : left + grid.shape[1]] = True
        assert reached[chunk.top : chunk.bottom, chunk.left : chunk.right].all()
    assert (seen == 1).all()
    assert min(total.min() for total in grid.totals) > 0


@pytest.fixture
def source(write_raster):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 150, 210), dtype=np.uint8)
    with RasterSource(write_raster(pixels)) as opened:
        yield opened


@pytest.mark.parametrize("strip", [64, 100, 210])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_local_score_is_unchanged(source, strip, batch):
    result = whole(source, WindowGrid(150, 210, 64, 40, strip), local_score, batch=batch)
    image = torch.from_numpy(source.read(Window(0, 0, 210, 150), (150, 210))).float() / 255
    torch.testing.assert_close(result, torch.stack([image[..., 0], 1 - image[..., 1]]))


def test_strips_make_no_difference(source):
    results = [whole(source, WindowGrid(150, 210, 64, 40, strip), constant_score) for strip in (64, 90, 210)]
    for other in results[1:]:
        torch.testing.assert_close(results[0], other)


@pytest.mark.parametrize("stride", [32, 48])
def test_there_are_no_seams(source, stride):
    """Between neighbouring pixels the result changes at most as much as the weights, whatever the scores are."""
    grid = WindowGrid(150, 210, 64, stride, 210)
    result = whole(source, grid, constant_score)
    steepest = [np.abs(np.diff(np.pad(weights, 1))).max() for weights in grid.weights]
    for axis, (total, step) in enumerate(zip(grid.totals, steepest, strict=True)):
        inner = total[32:-32].min()  # one window alone has no seam
        bound = 2 * step / inner
        change = result.diff(dim=axis + 1).abs()
        assert change.max() <= bound
        assert bound < 0.5  # a hard seam would be up to 1


def test_a_run_that_begins_later_gives_the_same(source):
    grid = WindowGrid(150, 210, 64, 40, 210)
    blender = WindowBlender(source, grid, 2, constant_score)
    everything = {chunk: scores for chunk, scores, _ in blender.run(0)}
    for first in range(len(grid.tops)):
        for chunk, scores, _ in blender.run(0, first):
            torch.testing.assert_close(scores, everything[chunk])


def test_windows_without_data_are_not_segmented(write_raster):
    mask = np.zeros((150, 210), np.uint8)
    mask[100:, 150:] = 255
    segmented = []

    def score(corners, read):
        segmented.extend(corners)
        return local_score(corners, read)

    with RasterSource(write_raster(np.full((3, 150, 210), 90, np.uint8), mask=mask)) as source:
        grid = WindowGrid(150, 210, 64, 64, 210)
        valid = np.concatenate([valid for _, _, valid in WindowBlender(source, grid, 2, score).run(0)])
    assert (valid == (mask > 0)).all()
    assert segmented == [(64, 128), (64, 146), (86, 128), (86, 146)]


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_scores_have_the_size_of_the_scene_at_any_scale(source, scale):
    sizes = set()

    def score(corners, read):
        sizes.add(tuple(read(corners).shape[-2:]))
        return local_score(corners, read)

    result = whole(source, WindowGrid(150, 210, 64, 40, 210), score, scale=scale)
    assert sizes == {(round(64 * scale), round(64 * scale))}
    assert result.shape == (2, 150, 210)
    assert result.isfinite().all()


def test_hann_is_symmetric_and_positive():
    for length in (1, 2, 17, 512):
        weights = hann(length)
        assert weights.min() > 0
        np.testing.assert_allclose(weights, weights[::-1], atol=1e-6)


def test_the_width_of_a_strip_follows_the_memory():
    assert strip_width(10, 512, 256, 12_000) == 4096
    assert strip_width(10, 512, 256, 3000) == 3000
    assert strip_width(100, 512, 256, 12_000) == 1280
    assert strip_width(1000, 512, 256, 12_000) == 512
    assert strip_width(10, 512, 256, 300) == 300
