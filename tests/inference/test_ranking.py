"""The two best classes of each pixel, against a sort of all scores in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sgovss.inference.ranking import rank, rank_others
from sgovss.modeling import class_scores
from sgovss.modeling.class_scores import ClassScores


@pytest.mark.parametrize("classes", [1, 2, 3, 17])
@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_against_a_plain_sort(monkeypatch, classes, at_once):
    monkeypatch.setattr(class_scores, "chunk_size", lambda *_: at_once)
    # Few values, so that many classes are equally good; 0 and 1 have odds that are not finite without a limit.
    values = np.random.default_rng(classes).integers(0, 5, (classes, 6, 7)) / 4
    found = rank(ClassScores.of(torch.from_numpy(values).float()))
    order = np.argsort(-values, axis=0, kind="stable")
    best = np.take_along_axis(values, order, axis=0)
    np.testing.assert_array_equal(found.labels, order[0])
    np.testing.assert_array_equal(found.scores, best[0])
    np.testing.assert_array_equal(found.runners_up, order[min(1, classes - 1)])
    odds = best.clip(1e-6) / (1 - best).clip(1e-6)
    leads = np.ones((6, 7)) if classes == 1 else (odds[0] - odds[1]) / odds.sum(axis=0)
    np.testing.assert_allclose(found.leads, leads, atol=1e-5)


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_a_known_best_class_stays_the_best(classes):
    exact = torch.rand(classes, 8, 9, generator=torch.Generator().manual_seed(classes)) * 0.1
    expected = rank(ClassScores.of(exact))
    rounded = rank_others((exact * 100).round() / 100, expected.labels)
    assert (rounded.labels == expected.labels).all() and (rounded.leads >= 0).all()
    unrounded = rank_others(exact, expected.labels)
    assert (unrounded.runners_up == expected.runners_up).all()
    torch.testing.assert_close(unrounded.leads, expected.leads)
    torch.testing.assert_close(unrounded.scores, expected.scores)


def test_the_lead_does_not_depend_on_a_shift_of_all_logits():
    """Before training all scores may be low; the lead compares the classes with each other."""
    logits = torch.randn(4, 5, 5, generator=torch.Generator().manual_seed(0))
    leads = [rank(ClassScores.of((logits + shift).sigmoid())).leads for shift in (-4, 0)]
    odds = (logits - 4).exp() / (logits - 4).exp().sum(dim=0)
    best = odds.topk(2, dim=0).values
    torch.testing.assert_close(leads[0], best[0] - best[1], atol=1e-4, rtol=0)
    torch.testing.assert_close(leads[0], leads[1], atol=1e-4, rtol=0)
