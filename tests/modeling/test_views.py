"""Views: windows cover the image, and results are averaged."""

from __future__ import annotations

import pytest
import torch

from sgovss.errors import InputError
from sgovss.modeling.views import Augmented, SlidingWindow, WholeImage


def local_score(images: torch.Tensor) -> torch.Tensor:
    """A score that depends on each pixel alone, so that all views give the same result."""
    return torch.stack([images[:, 0] / 255, images[:, 1] / 255], dim=1).float()


IMAGE = torch.randint(0, 256, (3, 70, 90), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_windows_of_a_local_score_equal_the_whole(batch):
    view = SlidingWindow(32, 20, batch=batch)
    torch.testing.assert_close(view(local_score, IMAGE), WholeImage()(local_score, IMAGE))


def test_a_window_that_holds_the_image_is_the_whole_image():
    def mean_score(images):
        return images.float().mean(dim=(2, 3), keepdim=True).expand(-1, -1, *images.shape[-2:])

    torch.testing.assert_close(SlidingWindow(90, 90)(mean_score, IMAGE), WholeImage()(mean_score, IMAGE))


def test_the_protocol_of_cat_seg_has_four_windows_and_one_global_view():
    seen = []

    def score(images):
        seen.extend([tuple(images.shape[-2:])] * len(images))
        return local_score(images)

    result = SlidingWindow(384, 256, working_size=640, global_view=384)(score, IMAGE)
    assert seen == [(384, 384)] * 5
    assert result.shape == (2, 70, 90)


def test_global_view_counts_half():
    def size_score(images):
        return torch.full((len(images), 1, *images.shape[-2:]), float(images.shape[-1]))

    result = SlidingWindow(32, 32, working_size=64, global_view=16)(size_score, IMAGE)
    torch.testing.assert_close(result, torch.full((1, 70, 90), (32 + 16) / 2))


def test_mirror_image_is_turned_back():
    torch.testing.assert_close(Augmented(WholeImage(), (), True)(local_score, IMAGE), local_score(IMAGE[None])[0])


def test_scales_are_averaged():
    def size_score(images):
        return torch.full((len(images), 1, *images.shape[-2:]), float(min(images.shape[-2:])))

    result = Augmented(WholeImage(), (35, 140), False)(size_score, IMAGE)
    torch.testing.assert_close(result, torch.full((1, 70, 90), 87.5))


@pytest.mark.parametrize("stride", [0, 40])
def test_wrong_stride_is_named(stride):
    with pytest.raises(InputError, match="SLIDING_WINDOW"):
        SlidingWindow(32, stride)
