"""Views: windows cover the image, and results are averaged."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sgovss.errors import InputError
from sgovss.modeling import chunks
from sgovss.modeling.class_scores import ClassScores
from sgovss.modeling.views import Augmented, SlidingWindow, WholeImage


def local_score(images: torch.Tensor) -> torch.Tensor:
    """A score that depends on each pixel alone, so that all views give the same result."""
    return torch.stack([images[:, 0] / 255, images[:, 1] / 255], dim=1).float()


def viewed(view, score, image) -> torch.Tensor:
    """All scores of an image in a view; ``score`` maps images (B, 3, H, W) to scores (B, T, H, W)."""
    return view(lambda images: [ClassScores.of(each) for each in score(images)], image).all()


IMAGE = torch.randint(0, 256, (3, 70, 90), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_windows_of_a_local_score_equal_the_whole(batch):
    view = SlidingWindow(32, 20, batch=batch)
    torch.testing.assert_close(viewed(view, local_score, IMAGE), viewed(WholeImage(), local_score, IMAGE))


def test_a_window_that_holds_the_image_is_the_whole_image():
    def mean_score(images):
        return images.float().mean(dim=(2, 3), keepdim=True).expand(-1, -1, *images.shape[-2:])

    torch.testing.assert_close(
        viewed(SlidingWindow(90, 90), mean_score, IMAGE), viewed(WholeImage(), mean_score, IMAGE)
    )


def test_the_protocol_of_cat_seg_has_four_windows_and_one_global_view():
    seen = []

    def score(images):
        seen.extend([tuple(images.shape[-2:])] * len(images))
        return local_score(images)

    result = viewed(SlidingWindow(384, 256, working_size=640, global_view=384), score, IMAGE)
    assert seen == [(384, 384)] * 5
    assert result.shape == (2, 70, 90)


def test_global_view_counts_half():
    def size_score(images):
        return torch.full((len(images), 1, *images.shape[-2:]), float(images.shape[-1]))

    result = viewed(SlidingWindow(32, 32, working_size=64, global_view=16), size_score, IMAGE)
    torch.testing.assert_close(result, torch.full((1, 70, 90), (32 + 16) / 2))


def test_mirror_image_is_turned_back():
    result = viewed(Augmented(WholeImage(), (), True), local_score, IMAGE)
    torch.testing.assert_close(result, local_score(IMAGE[None])[0])


def test_scales_are_averaged():
    def size_score(images):
        return torch.full((len(images), 1, *images.shape[-2:]), float(min(images.shape[-2:])))

    result = viewed(Augmented(WholeImage(), (35, 140), False), size_score, IMAGE)
    torch.testing.assert_close(result, torch.full((1, 70, 90), 87.5))


@pytest.mark.parametrize("stride", [0, 40])
def test_wrong_stride_is_named(stride):
    with pytest.raises(InputError, match="SLIDING_WINDOW"):
        SlidingWindow(32, stride)


def smooth_score(images: torch.Tensor) -> torch.Tensor:
    """Scores of seven classes that depend on the surroundings of each pixel."""
    weights = torch.randn(7, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    return F.conv2d(images.float() / 255 - 0.5, weights, padding=2).sigmoid()


@pytest.mark.parametrize("bound", [1, 20_000, 2**22])
@pytest.mark.parametrize("antialias", [True, False])
def test_windows_and_global_view_equal_the_formula(monkeypatch, antialias, bound):
    """Written out as CAT-Seg does it for ``antialias`` False, with all classes at once."""

    def resize(x, side):
        size = (side, side) if isinstance(side, int) else side
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=antialias)

    image = IMAGE.float()[None]
    work, sums, counts = resize(image, 48), torch.zeros(1, 7, 48, 48), torch.zeros(48, 48)
    for top in (0, 16):
        for left in (0, 16):
            rows, columns = slice(top, top + 32), slice(left, left + 32)
            sums[..., rows, columns] += smooth_score(work[..., rows, columns])
            counts[rows, columns] += 1
    both = (sums / counts + resize(smooth_score(resize(image, 24)), 48)) / 2
    expected = resize(both, (70, 90))[0]

    monkeypatch.setitem(chunks._MOST_ELEMENTS, "cpu", bound)
    result = viewed(SlidingWindow(32, 16, working_size=48, global_view=24, antialias=antialias), smooth_score, IMAGE)
    torch.testing.assert_close(result, expected, atol=1e-6, rtol=0)


def test_without_antialiasing_neither_image_nor_scores_are_smoothed():
    """Stripes of one pixel: every other pixel is left out, where antialiasing gives their mean."""
    stripes = torch.zeros(3, 60, 60)
    stripes[..., 1::3] = 255.0  # the middle of three pixels is the one that is sampled
    plain = viewed(SlidingWindow(20, 20, working_size=20, antialias=False), lambda x: x[:, :1] / 255, stripes)
    assert plain.min() == 1
    smooth = viewed(SlidingWindow(20, 20, working_size=20), lambda x: x[:, :1] / 255, stripes)
    assert smooth.min() > 0.2 and smooth.max() < 0.5

    def striped_score(images):
        return torch.zeros(len(images), 1, *images.shape[-2:]).index_fill(-1, torch.arange(1, 60, 3), 1.0)

    shrunk = viewed(SlidingWindow(60, 60, working_size=60, antialias=False), striped_score, torch.zeros(3, 20, 20))
    assert shrunk.min() == 1
    assert viewed(SlidingWindow(60, 60, working_size=60), striped_score, torch.zeros(3, 20, 20)).max() < 0.5
