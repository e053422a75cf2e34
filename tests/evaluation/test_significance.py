"""The paired bootstrap against one written out, and what two runs must have in common."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sgovss.errors import InputError
from sgovss.evaluation.image_counts import ImageCounts, below_common_folder, read_counts
from sgovss.evaluation.significance import compare_runs, difference_rows

CLASSES = ["building", "road", "tree"]
SEEN = [True, True, False]


def make_counts(images: np.ndarray, classes: list[str] = CLASSES, prefix: str = "") -> ImageCounts:
    return ImageCounts("fields_test", classes, SEEN, {f"{prefix}{i:03}.png": each for i, each in enumerate(images)})


def draw_run(seed: int, quality: float, images: int = 40) -> np.ndarray:
    """Counts (N, 3, T) of a run that is right on about this share of the pixels; the images are the same for all."""
    true = np.random.default_rng(99).integers(1000, 5000, size=(images, 3))
    rng = np.random.default_rng(seed)
    hits = (true * np.clip(quality + rng.normal(scale=0.05, size=true.shape), 0, 1)).astype(np.int64)
    wrong = (true - hits).sum(axis=1, keepdims=True) // 3
    return np.stack([hits, true, hits + wrong], axis=1)


def miou(counts: np.ndarray) -> float:
    hits, true, predicted = counts.sum(axis=0).astype(float)
    return float(100 * np.mean(hits / (true + predicted - hits)))


def plain_bootstrap(first: np.ndarray, second: np.ndarray, resamples: int) -> np.ndarray:
    """Differences of mIoU on test sets drawn image by image."""
    rng = np.random.default_rng(7)
    drawn = (rng.integers(0, len(first), size=len(first)) for _ in range(resamples))
    return np.array([miou(second[index]) - miou(first[index]) for index in drawn])


@pytest.mark.parametrize(("seed", "gain"), [(1, 0.0), (2, 0.004), (3, 0.05)])
def test_equals_a_bootstrap_written_out(seed, gain):
    first, second = draw_run(10, 0.7), draw_run(seed, 0.7 + gain)
    found = compare_runs(make_counts(first), make_counts(second), resamples=2000)["mIoU"]
    assert found.first == pytest.approx(miou(first)) and found.second == pytest.approx(miou(second))
    assert found.value == pytest.approx(miou(second) - miou(first))
    expected = plain_bootstrap(first, second, 2000)
    ends = np.percentile(expected, [2.5, 97.5])
    assert found.interval == pytest.approx(ends, abs=0.1 * float(np.diff(ends)[0]))
    share = 2 * min((expected <= 0).mean(), (expected >= 0).mean())
    assert found.p == pytest.approx(min(share, 1), abs=0.04)


def test_a_difference_on_every_image_is_significant_and_none_is_not():
    same, better = draw_run(1, 0.6), draw_run(2, 0.8)
    differences = compare_runs(make_counts(same), make_counts(better))
    assert set(differences) >= {"mIoU", "seen_mIoU", "unseen_mIoU", "harmonic_mIoU", "IoU-building", "IoU-tree"}
    assert all(each.p is not None and each.p < 0.01 for each in differences.values())
    for each in compare_runs(make_counts(same), make_counts(same)).values():
        assert (each.value, each.interval, each.p) == (0.0, (0.0, 0.0), 1.0)


def test_pairs_are_narrower_than_two_independent_bootstraps():
    """Hard and easy images: both runs vary by image, but their difference does not."""
    ease = np.linspace(0.2, 0.9, 30)
    true = np.full((30, 3), 1000)
    runs = [np.stack([(true * (ease + gain)[:, None]).astype(int), true, true], axis=1) for gain in (0.0, 0.01)]
    low, high = compare_runs(*map(make_counts, runs))["mIoU"].interval
    single = [miou(runs[0][np.random.default_rng(i).integers(0, 30, 30)]) for i in range(200)]
    assert 0 < low < high and high - low < 0.3 * (np.percentile(single, 97.5) - np.percentile(single, 2.5))


def test_undefined_scores_have_no_interval():
    counts = draw_run(1, 0.7)
    counts[1:, :, 2] = 0  # trees in one image of 40 only
    rows = {row[0]: row for row in difference_rows(compare_runs(make_counts(counts), make_counts(counts)))}
    assert rows["IoU-tree"][1:] == [pytest.approx(rows["IoU-tree"][2]), rows["IoU-tree"][2], 0.0, None, None, None]
    one = compare_runs(make_counts(counts[:1]), make_counts(counts[:1]))["mIoU"]
    assert (one.value, one.interval, one.p) == (0.0, None, None)


def test_runs_that_cannot_be_compared():
    counts = draw_run(1, 0.7)
    with pytest.raises(InputError, match=r"fields_test: the runs have different classes \(building, road, tree; a, b"):
        compare_runs(make_counts(counts), make_counts(counts, ["a", "b", "c"]))
    with pytest.raises(InputError, match=r"2 are in one of them only, such as 038.png"):
        compare_runs(make_counts(counts), make_counts(counts[:38]))
    with pytest.raises(InputError, match=r"80 are in one of them only, such as 000.png"):
        compare_runs(make_counts(counts), make_counts(counts, prefix="other/"))


def test_counts_are_the_same_after_writing_and_reading(tmp_path):
    counts = make_counts(draw_run(1, 0.7))
    counts.write(tmp_path)
    again = read_counts(tmp_path / "images.json")
    assert (again.dataset, again.classes, again.seen) == ("fields_test", CLASSES, SEEN)
    np.testing.assert_array_equal(again.array(), counts.array())


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"classes": ["a"], "images": {"x": [1, 2]}, "seen": [], "dataset": ""}']
)
def test_a_damaged_file_is_one_line(tmp_path, text):
    (tmp_path / "images.json").write_text(text)
    with pytest.raises(InputError, match=r"images.json: not the counts of an evaluation"):
        read_counts(tmp_path / "images.json")
    with pytest.raises(InputError, match=r"none.json: not the counts of an evaluation"):
        read_counts(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["/data/a/x.png", "/data/a/y.png"], ["x.png", "y.png"]),
        (["/data/train/x.png", "/data/test/x.png"], ["train/x.png", "test/x.png"]),
        (["/one/only.png"], ["only.png"]),
        (["image0.png", "image1.png"], ["image0.png", "image1.png"]),
        ([], []),
    ],
)
def test_paths_are_shortened_to_what_two_machines_have_in_common(names, expected):
    found = below_common_folder({name: np.zeros((3, 1)) for name in names})
    assert list(found) == expected


def test_json_is_readable_without_sgovss(tmp_path):
    make_counts(draw_run(1, 0.7, images=2)).write(tmp_path)
    content = json.loads((tmp_path / "images.json").read_text())
    assert content["counts"] == ["correct pixels", "true pixels", "predicted pixels"]
    assert list(content["images"]) == ["000.png", "001.png"] and np.shape(content["images"]["000.png"]) == (3, 3)
