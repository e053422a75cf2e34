"""Views: windows cover the image, and results are averaged."""

from __future__ import annotations

import weakref

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from sgovss.config import load_config
from sgovss.errors import InputError
from sgovss.modeling import chunks
from sgovss.modeling.build import build_model
from sgovss.modeling.class_scores import ClassScores
from sgovss.modeling.views import Augmented, Padded, SlidingWindow, WholeImage, build_native_view, mean_maps
from sgovss.view_set import Orientation, ViewSet
from sgovss.vocabulary import Vocabulary


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


def test_the_sums_of_windows_have_the_size_of_the_image():
    scores = SlidingWindow(32, 20)(lambda images: [ClassScores.of(each) for each in local_score(images)], IMAGE)
    assert scores.pixels == 70 * 90


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
    result = viewed(Augmented(WholeImage(), ViewSet(mirror=True)), local_score, IMAGE)
    torch.testing.assert_close(result, local_score(IMAGE[None])[0])


def test_scales_are_averaged():
    def size_score(images):
        return torch.full((len(images), 1, *images.shape[-2:]), float(min(images.shape[-2:])))

    result = viewed(Augmented(WholeImage(), ViewSet(), (35, 140)), size_score, IMAGE)
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


def test_scaled_images_and_their_scores_are_smoothed():
    stripes = torch.zeros(3, 60, 60)
    stripes[..., 1::3] = 255.0
    third = Augmented(WholeImage(), ViewSet(scales=(1 / 3,)))
    smooth = viewed(third, lambda x: x[:, :1] / 255, stripes)
    assert smooth.min() > 0.2 and smooth.max() < 0.5

    def striped_score(images):
        return torch.zeros(len(images), 1, *images.shape[-2:]).index_fill(-1, torch.arange(1, 60, 3), 1.0)

    assert viewed(Augmented(WholeImage(), ViewSet(scales=(3.0,))), striped_score, torch.zeros(3, 20, 20)).max() < 0.5


def test_an_image_is_padded_to_the_right_and_below_with_its_border():
    seen = []

    def score(images):
        seen.append(images)
        return local_score(images)

    result = viewed(Padded(WholeImage(), 16), score, IMAGE)
    torch.testing.assert_close(result, local_score(IMAGE[None])[0])
    (padded,) = seen[0]
    assert padded.shape == (3, 80, 96)
    assert (padded[:, 70:, :90] == IMAGE[:, -1:]).all() and (padded[:, :70, 90:] == IMAGE[..., -1:]).all()


@pytest.mark.parametrize(
    ("window", "stride", "expected"), [(512, 384, (512, 384)), (500, 300, (512, 288)), (20, 20, (32, 32))]
)
def test_windows_of_a_photograph_are_multiples_of_the_step_of_the_model(window, stride, expected):
    cfg = load_config("sgovss_tiny.yaml", ["TEST.SCENE.WINDOW", str(window), "TEST.SCENE.STRIDE", str(stride)])
    view = build_native_view(cfg, 32, 8)
    assert (view.view.window, view.view.stride) == expected and view.multiple == 4


SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))
SETS = st.builds(
    ViewSet,
    st.booleans(),
    st.booleans(),
    st.lists(st.sampled_from([0.5, 1.0, 1.3, 2.0]), min_size=1, max_size=2, unique=True).map(tuple),
)


def noise(size: tuple[int, int]) -> torch.Tensor:
    return torch.randint(0, 256, (3, *size), generator=torch.Generator().manual_seed(size[0]), dtype=torch.uint8)


@given(size=SIZES, turns=st.integers(0, 3), mirrored=st.booleans())
def test_an_orientation_can_be_undone(size, turns, mirrored):
    orientation, image = Orientation(turns, mirrored), noise(size)
    turned = orientation.apply(image)
    assert turned.shape[-2:] == (size if turns % 2 == 0 else size[::-1])
    assert torch.equal(orientation.undo(turned), image)


def test_orientations_differ_and_are_those_of_a_square():
    image = noise((9, 9))
    for views, count in ((ViewSet(), 1), (ViewSet(mirror=True), 2), (ViewSet(turns=True), 4), (ViewSet(True, True), 8)):
        seen = {tuple(each.apply(image).flatten().tolist()) for each in views.orientations}
        assert len(seen) == count == len(views)


@settings(deadline=None)
@given(size=SIZES, views=SETS)
def test_views_of_a_flat_image_change_nothing_at_any_size(size, views):
    image = torch.tensor([10.0, 200.0, 30.0])[:, None, None].expand(3, *size)
    expected = local_score(image[None])
    torch.testing.assert_close(viewed(Augmented(WholeImage(), views), local_score, image), expected[0])
    torch.testing.assert_close(mean_maps(local_score, image[None], views), expected)


@settings(deadline=None)
@given(size=SIZES, mirror=st.booleans(), turns=st.integers(1, 3))
def test_a_turned_image_has_the_turned_map_at_any_size(size, mirror, turns):
    view, image = Augmented(WholeImage(), ViewSet(turns=True, mirror=mirror)), noise(size)
    expected = viewed(view, smooth_score, image).rot90(turns, (-2, -1))
    found = viewed(view, smooth_score, image.rot90(turns, (-2, -1)))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    maps = mean_maps(smooth_score, image[None].rot90(turns, (-2, -1)), view.views)
    torch.testing.assert_close(maps[0], expected, atol=1e-6, rtol=0)


def coarse_score(images: torch.Tensor) -> torch.Tensor:
    """Maps at stride 4 that depend on the surroundings."""
    return F.avg_pool2d(smooth_score(images), 4)


def test_mean_maps_equal_the_formula():
    """Two turned images, at two scales, written out."""
    images = torch.stack([noise((32, 48)), noise((33, 48))[:, 1:]]).float()
    larger = F.interpolate(images, size=(48, 72), mode="bilinear", align_corners=False, antialias=True)
    parts = []
    for turn in range(4):
        parts.append(coarse_score(images.rot90(turn, (-2, -1))).rot90(-turn, (-2, -1)))
        seen = coarse_score(larger.rot90(turn, (-2, -1))).rot90(-turn, (-2, -1))
        parts.append(F.interpolate(seen, size=(8, 12), mode="bilinear", align_corners=False, antialias=True))
    found = mean_maps(coarse_score, images, ViewSet(turns=True, scales=(1.0, 1.5)), multiple=8)
    torch.testing.assert_close(found, torch.stack(parts).mean(dim=0), atol=1e-6, rtol=0)
    alone = mean_maps(coarse_score, images, ViewSet(scales=(1.5,)), multiple=8)
    torch.testing.assert_close(alone, parts[1], atol=1e-6, rtol=0)


def test_one_view_calls_the_score_once_and_changes_nothing():
    images, calls = noise((32, 32))[None], []
    found = mean_maps(lambda seen: calls.append(seen) or coarse_score(seen), images, ViewSet())
    assert (len(calls) == 1 and calls[0] is images) or torch.equal(calls[0], images)
    assert torch.equal(found, coarse_score(images))


def test_sides_of_scaled_images_are_multiples_of_the_stride():
    seen = []
    mean_maps(lambda x: seen.append(tuple(x.shape[-2:])) or coarse_score(x), noise((64, 96))[None].float(),
              ViewSet(scales=(0.7, 1.3)), multiple=32)  # fmt: skip
    assert seen == [(32, 64), (96, 128)]


@pytest.mark.parametrize("views", [ViewSet(True, True), ViewSet(True, True, (1.0, 1.5, 2.0))])
def test_memory_does_not_grow_with_the_number_of_views(views):
    """At most three maps are alive when the next view is scored: the sum, and what one view needs."""
    alive: list[weakref.ref] = []

    def score(images):
        assert sum(each() is not None for each in alive) <= 2
        maps = coarse_score(images)
        alive.append(weakref.ref(maps))
        return maps

    mean_maps(score, noise((64, 64))[None].float(), views)
    assert len(alive) == len(views)


@pytest.mark.parametrize("mirror", [False, True])
def test_the_model_gives_a_turned_image_the_turned_map(mirror):
    cfg = load_config("sgovss_tiny.yaml", ["TEST.VIEWS", "['turns','mirror']" if mirror else "['turns']"])
    cfg.MODEL.SGOVSS.COMPENSATION.ENABLED = False
    model = build_model(cfg).eval()
    words = Vocabulary.from_string("road, tree, water")
    image = noise((90, 61))
    expected = model.score_image(image, words).all()
    for turns in (1, 2, 3):
        found = model.score_image(image.rot90(turns, (-2, -1)), words).all()
        torch.testing.assert_close(found, expected.rot90(turns, (-2, -1)), atol=1e-5, rtol=0)
    model.view = WholeImage()
    assert (model.score_image(image, words).all() - expected).abs().max() > 1e-3
