"""Scores by classes: labels equal those of all scores, memory is bounded, and CUDA may run out of memory once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sgovss.inference.predictor import segment_image
from sgovss.inference.rejection import Rejection
from sgovss.modeling import chunks
from sgovss.modeling.class_scores import ClassScores, mean_scores, resize
from sgovss.modeling.logits import best_word, scores_of
from sgovss.modeling.views import Augmented, SlidingWindow, WholeImage
from sgovss.view_set import ViewSet
from sgovss.vocabulary import ClassEntry, Vocabulary


@pytest.fixture
def kind() -> str:
    """One kind of image encoder is enough: the tests are about what follows the logits."""
    return "vit"


@pytest.fixture
@torch.no_grad()
def trained(model):
    """A model in inference mode whose gates are open."""
    generator = torch.Generator().manual_seed(5)
    for parameter in model.head.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    return model.eval()


@pytest.fixture
def bound(monkeypatch):
    """A function that sets the bound on the elements of a chunk."""
    return lambda elements: monkeypatch.setitem(chunks._MOST_ELEMENTS, "cpu", elements)


def words(classes: int, synonyms: int = 0) -> Vocabulary:
    """Numbered classes; the first ones have a synonym."""
    return Vocabulary(
        [ClassEntry(f"thing {n}", (f"object {n}",) if n < synonyms else ()) for n in range(classes)], "test"
    )


class LargestMap(TorchDispatchMode):
    """Records the number of elements of the largest tensor of the given height and width that an operator makes."""

    def __init__(self, *size: int) -> None:
        super().__init__()
        self.size, self.elements = size, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            for x in tree_leaves(result):
                if isinstance(x, torch.Tensor) and x.shape[-2:] == self.size:
                    self.elements = max(self.elements, x.numel())
        return result


views = st.sampled_from(
    [
        WholeImage(),
        SlidingWindow(48, 32),
        SlidingWindow(32, 32, working_size=64, global_view=32, batch=3),
        SlidingWindow(64, 40, working_size=80, global_view=32, antialias=False),
        Augmented(WholeImage(), ViewSet(mirror=True)),
        Augmented(WholeImage(), ViewSet(turns=True, scales=(0.7, 1.0))),
        Augmented(SlidingWindow(32, 24), ViewSet(mirror=True), (40, 64)),
    ]
)


@given(
    classes=st.integers(1, 12),
    synonyms=st.integers(0, 4),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    output=st.none() | st.tuples(st.integers(1, 90), st.integers(1, 90)),
    view=views,
    elements=st.sampled_from([5_000, 20_000, 2**22]),
)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_labels_equal_the_arg_max_of_all_scores(trained, bound, classes, synonyms, size, output, view, elements):
    bound(elements)
    trained.view = view
    image = torch.randint(0, 256, (3, *size), generator=torch.Generator().manual_seed(classes))
    entry = {"image": image, "vocabulary": words(classes, synonyms)}
    if output is not None:
        entry |= {"height": output[0], "width": output[1]}
    scores = trained([entry])[0]["sem_seg"]
    labels = trained([entry | {"labels_only": True}])[0]["sem_seg"]
    assert scores.shape == (classes, *(output or size))
    assert labels.dtype == torch.int64
    assert torch.equal(labels, scores.argmax(dim=0))


@pytest.mark.parametrize("classes", [1, 5, 23])
@pytest.mark.parametrize("elements", [1, 3 * 40 * 30, 2**22])
def test_of_equal_scores_the_first_class_wins(bound, classes, elements):
    """Scores of three values only, so that most maxima occur several times and in several chunks."""
    bound(elements)
    scores = torch.randint(0, 3, (classes, 40, 30), generator=torch.Generator().manual_seed(0)) / 2
    labels, best = ClassScores.of(scores).best()
    assert np.array_equal(labels, np.argmax(scores.numpy(), axis=0))
    assert torch.equal(best, scores.amax(dim=0))


@torch.no_grad()
@pytest.mark.parametrize("elements", [3 * 96 * 96, 2**22])
def test_scores_equal_the_formula(trained, bound, elements):
    """Written out with all classes at once: padded logits, best word, bilinear, sigmoid, crop, output size."""
    bound(elements)
    image, vocabulary = torch.randint(0, 256, (3, 50, 90)), words(9, synonyms=3)
    encoded = trained.encode(image[None])
    text = trained.text_embedder(vocabulary)
    logits = best_word(trained.head(encoded.levels, text.embeddings), text.owners, 9)
    padded = F.interpolate(logits, size=encoded.padded_size, mode="bilinear").sigmoid()[..., :50, :90]
    torch.testing.assert_close(trained.scores(image[None], vocabulary), padded, atol=1e-6, rtol=0)
    expected = F.interpolate(padded, size=(75, 45), mode="bilinear")[0]
    entry = {"image": image, "vocabulary": vocabulary, "height": 75, "width": 45}
    torch.testing.assert_close(trained([entry])[0]["sem_seg"], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "view", [WholeImage(), SlidingWindow(48, 16, global_view=48), Augmented(WholeImage(), ViewSet(mirror=True))]
)
def test_nothing_of_full_size_grows_with_the_number_of_classes(trained, bound, view):
    side = 64
    bound(3 * side * side)
    trained.view = view
    image = torch.randint(0, 256, (3, side, side), dtype=torch.uint8)
    for classes in (6, 18):
        entry = {"image": image, "vocabulary": words(classes)}
        with LargestMap(side, side) as made:
            trained([entry | {"labels_only": True}])
        assert made.elements == 3 * side * side
        with LargestMap(side, side) as made:
            pixels = image.permute(1, 2, 0).numpy()
            segment_image(trained, pixels, words(classes), Rejection(0.1, ("ground",)), view)
        assert made.elements == 3 * side * side
        with LargestMap(side, side) as made:
            trained([entry])
        assert made.elements == classes * side * side  # the result itself


def test_enlarged_scores_of_a_batch_stay_below_torchs_limit(bound):
    """On CUDA torch enlarges at most 2**31 elements at a time; here the limit is lower."""
    limit = 5 * 64 * 64
    bound(limit)
    logits = torch.randn(3, 20, 8, 8)

    class Limited(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if "upsample" in func.__name__:
                assert result.numel() <= limit
            return result

    with torch.no_grad(), Limited():
        scores = scores_of(logits, (64, 64), (60, 50))
    expected = F.interpolate(logits, size=(64, 64), mode="bilinear").sigmoid()[..., :60, :50]
    torch.testing.assert_close(scores, expected, atol=1e-6, rtol=0)


def out_of_memory_once(function):
    """The function, but its first call fails as torch does when a CUDA device has no memory left."""
    calls = []

    def call(*args):
        calls.append(args)
        if len(calls) == 1:
            raise RuntimeError("CUDA out of memory. Tried to allocate 4.00 GiB.")
        return function(*args)

    return call, calls


def test_a_chunk_is_computed_again_when_memory_was_short(bound):
    bound(40 * 30)
    scores = torch.rand(4, 40, 30)
    plain = ClassScores.of(scores)
    for result in ("all", "best"):
        compute, calls = out_of_memory_once(plain.compute)
        short = ClassScores(plain.classes, plain.size, compute, plain.pixels, plain.device)
        found, expected = getattr(short, result)(), getattr(plain, result)()
        assert len(calls) == 5
        torch.testing.assert_close(found, expected, atol=0, rtol=0)


def test_an_image_is_segmented_again_when_memory_was_short(trained, vocabulary, monkeypatch):
    entry = {"image": torch.randint(0, 256, (3, 64, 64)), "vocabulary": vocabulary, "labels_only": True}
    expected = trained([entry])[0]["sem_seg"]
    encode, calls = out_of_memory_once(trained.encode)
    monkeypatch.setattr(trained, "encode", encode)
    assert torch.equal(trained([entry])[0]["sem_seg"], expected)
    assert len(calls) == 2


def test_other_errors_are_not_repeated(trained, vocabulary, monkeypatch):
    calls = []

    def encode(images):
        calls.append(images)
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(trained, "encode", encode)
    with pytest.raises(RuntimeError, match="shapes differ"):
        trained([{"image": torch.zeros(3, 64, 64), "vocabulary": vocabulary}])
    assert len(calls) == 1


def test_all_scores_move_to_the_cpu_when_the_device_is_too_small(monkeypatch):
    """The result is as large as the number of classes asks for; a chunk is not."""
    scores = torch.rand(4, 40, 30)
    devices = []
    joined = ClassScores._joined

    def short(self, like):
        devices.append(like)
        if len(devices) < 3:
            raise RuntimeError("CUDA out of memory. Tried to allocate 4.00 GiB.")
        return joined(self, like)

    monkeypatch.setattr(ClassScores, "_joined", short)
    assert torch.equal(ClassScores.of(scores).all(), scores)
    assert len(devices) == 3


def test_the_mean_of_scores(bound):
    bound(2 * 40 * 30)
    several = [torch.rand(5, 40, 30) for _ in range(3)]
    mean = mean_scores([ClassScores.of(scores) for scores in several])
    torch.testing.assert_close(mean.all(), torch.stack(several).mean(dim=0))


def test_scores_of_the_wanted_size_are_not_computed_again():
    scores = torch.rand(3, 5, 7)
    assert resize(scores, (5, 7), antialias=False) is scores
    assert resize(scores, (7, 5), antialias=True).shape == (3, 7, 5)
