"""Tests of the scores that ``make demo`` requires."""

from __future__ import annotations

import pytest

from sgovss.errors import InputError


@pytest.fixture(scope="module")
def tool(load_script):
    return load_script("tools/demo_main_job.py")


def _scores(seen: float, unseen: float) -> dict[str, float]:
    return {"seen_mIoU": seen, "unseen_mIoU": unseen, "harmonic_mIoU": 0.0}


def test_fine_tuning_must_teach_the_seen_and_keep_the_unseen(tool):
    tool.check(_scores(10, 15), _scores(20, 13))
    with pytest.raises(InputError, match=r"seen mIoU changed by \+9\.0"):
        tool.check(_scores(10, 15), _scores(19, 15))
    with pytest.raises(InputError, match=r"unseen mIoU changed by -2\.5"):
        tool.check(_scores(10, 15), _scores(30, 12.5))
