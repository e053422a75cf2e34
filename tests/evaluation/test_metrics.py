"""Metrics compared with counts by hand and with scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sgovss.evaluation.metrics import (
    bootstrap_intervals,
    class_counts,
    class_scores,
    confusion_matrix,
    harmonic_mean,
    plain,
    summarize,
)

# Three classes and the ignored ground truth (id 3):
#   truth     0 0 0 0 1 1 3
#   predicted 0 0 1 2 1 0 2
TRUTH = np.array([0, 0, 0, 0, 1, 1, 3])
PREDICTED = np.array([0, 0, 1, 2, 1, 0, 2])
MATRIX = confusion_matrix(PREDICTED, TRUTH, 3)


def test_rows_are_predicted_and_columns_true():
    assert MATRIX.tolist() == [[2, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 1], [0, 0, 0, 0]]
    assert MATRIX.dtype == np.int64


def test_small_integer_types_do_not_overflow():
    ids = np.full((2, 2), 254, dtype=np.uint8)
    assert confusion_matrix(ids, ids, 255)[254, 254] == 4


def test_class_scores_counted_by_hand():
    scores = class_scores(MATRIX)
    np.testing.assert_allclose(scores.iou, [100 * 2 / 5, 100 * 1 / 3, np.nan])
    np.testing.assert_allclose(scores.precision, [100 * 2 / 3, 50, 0])
    np.testing.assert_allclose(scores.recall, [50, 50, np.nan])
    assert scores.pixels.tolist() == [4, 2, 0]
    assert scores.predicted.tolist() == [True, True, True]


def test_summary_counted_by_hand():
    summary = summarize(MATRIX, [True, False, False])
    assert summary["mIoU"] == pytest.approx((40 + 100 / 3) / 2)
    assert summary["mIoU_present_or_predicted"] == pytest.approx((40 + 100 / 3 + 0) / 3)
    assert summary["fwIoU"] == pytest.approx(40 * 4 / 6 + 100 / 3 * 2 / 6)
    assert summary["mACC"] == pytest.approx(50)
    assert summary["pACC"] == pytest.approx(50)
    assert summary["seen_mIoU"] == pytest.approx(40)
    assert summary["unseen_mIoU"] == pytest.approx(100 / 3)  # class 2 is absent from the ground truth
    assert summary["harmonic_mIoU"] == pytest.approx(2 / (1 / 40 + 3 / 100))
    assert all(type(value) is float for value in summary.values())


def test_a_rejected_pixel_is_a_miss_of_its_class():
    matrix = confusion_matrix(np.array([0, 2, 1]), np.array([0, 0, 1]), 2)
    assert class_scores(matrix).recall.tolist() == [50, 100]
    assert summarize(matrix, [True, True])["pACC"] == pytest.approx(200 / 3)


@pytest.mark.parametrize(
    ("seen", "empty"),
    [([True, True, True], "unseen_mIoU"), ([False, False, False], "seen_mIoU"), ([True, True, False], "unseen_mIoU")],
)
def test_the_score_of_an_empty_group_is_none(seen, empty):
    summary = summarize(MATRIX, seen)  # class 2 has no ground truth
    assert summary[empty] is None
    assert summary["harmonic_mIoU"] is None
    assert summary["mIoU"] is not None


def test_scores_without_any_pixel_are_none():
    assert set(summarize(np.zeros((4, 4), dtype=np.int64), [True, False, True]).values()) == {None}


def test_harmonic_mean():
    assert harmonic_mean(60.0, 30.0) == pytest.approx(40)
    assert harmonic_mean(60.0, 0.0) == 0
    assert harmonic_mean(None, 30.0) is None


def test_plain_has_no_nan_and_no_numpy():
    assert plain(np.float64("nan")) is None
    assert type(plain(np.float64(2))) is float


def images(count, seed=0):
    """Return the confusion matrices of images with random error rates."""
    rng = np.random.default_rng(seed)
    matrices = []
    for wrong in rng.random(count):
        truth = rng.integers(0, 3, 400)
        predicted = np.where(rng.random(400) < wrong, rng.integers(0, 3, 400), truth)
        matrices.append(confusion_matrix(predicted, truth, 3))
    return np.array(matrices)


def test_intervals_agree_with_scipy_where_the_score_is_a_mean():
    from scipy import stats  # takes seconds

    matrices = images(40)
    rates = [
        100 * each.diagonal().sum() / each.sum() for each in matrices
    ]  # all images have the same size, so pACC is the mean
    low, high = bootstrap_intervals(np.array([class_counts(each) for each in matrices]), [True, True, False])["pACC"]
    theirs = stats.bootstrap((rates,), np.mean, method="percentile", n_resamples=5000, random_state=1)
    assert low == pytest.approx(theirs.confidence_interval.low, abs=1)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=1)


def test_intervals_contain_the_score_shrink_with_more_images_and_are_reproducible():
    widths, seen = [], [True, False, False]
    for matrices in images(5), images(200):
        counts = np.array([class_counts(each) for each in matrices])
        intervals, score = bootstrap_intervals(counts, seen), summarize(matrices.sum(axis=0), seen)
        assert intervals == bootstrap_intervals(counts, seen)
        assert all(low <= score[name] <= high for name, (low, high) in intervals.items())
        widths.append(intervals["harmonic_mIoU"][1] - intervals["harmonic_mIoU"][0])
    assert widths[1] < widths[0] / 3


def test_no_interval_for_one_image_or_a_class_that_only_one_image_has():
    one = class_counts(MATRIX)[None]
    assert set(bootstrap_intervals(one, [True, False, True]).values()) == {None}
    without = class_counts(confusion_matrix(np.array([1]), np.array([1]), 3))
    intervals = bootstrap_intervals(np.stack([one[0], without]), [True, False, False])
    assert intervals["seen_mIoU"] is None
    assert intervals["mIoU"] is not None


ids = hnp.arrays(np.uint8, st.tuples(st.just(2), st.integers(1, 60)), elements=st.integers(0, 4))


@given(ids)
def test_agrees_with_scikit_learn(pair):
    from sklearn import metrics as reference  # takes seconds

    predicted, truth = pair
    labels = range(5)
    matrix = confusion_matrix(predicted, truth, 5)
    theirs = reference.confusion_matrix(truth, predicted, labels=labels)  # rows are true there
    assert np.array_equal(matrix[:5, :5], theirs.T)
    assert matrix.sum() == truth.size
    scores, present = class_scores(matrix), np.unique(truth)
    ours = np.array([scores.precision, scores.recall]) / 100
    theirs = reference.precision_recall_fscore_support(truth, predicted, labels=labels, zero_division=np.nan)
    np.testing.assert_allclose(ours, theirs[:2])
    jaccard = reference.jaccard_score(truth, predicted, labels=labels, average=None, zero_division=0)
    np.testing.assert_allclose(scores.iou[present] / 100, jaccard[present])
    summary = summarize(matrix, [True] * 5)
    assert summary["pACC"] == pytest.approx(100 * reference.accuracy_score(truth, predicted))
    found = np.union1d(truth, predicted)
    assert summary["mIoU_present_or_predicted"] == pytest.approx(100 * jaccard[found].mean())
