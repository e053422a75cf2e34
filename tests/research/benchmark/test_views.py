"""The tables of views and of starts."""

import pytest

from research.benchmark.start import cpu_seconds
from research.benchmark.views import rows
from sgovss.errors import InputError


def test_cost_and_gain_are_compared_with_the_first_views():
    found = {
        "1": {"a": {"mIoU": 40.0, "seconds": 2.0}, "b": {"mIoU": 10.0, "seconds": 1.0}},
        "turns,1.5": {"a": {"mIoU": 43.04, "seconds": 18.0}, "b": {"mIoU": 9.5, "seconds": 10.0}},
    }
    assert rows(found) == [
        {"views": "1", "number": 1, "cost": 1.0, "a": "40.0 (+0.0)", "b": "10.0 (+0.0)"},
        {"views": "turns,1.5", "number": 4, "cost": 9.5, "a": "43.0 (+3.0)", "b": "9.5 (-0.5)"},
    ]


def test_the_time_is_that_of_the_process():
    busy = "import time\nwhile time.process_time() < {}: pass"
    long, short = (cpu_seconds(["-c", busy.format(seconds)], {}) for seconds in (0.5, 0.2))
    assert 0.2 < long - short < 0.6
    with pytest.raises(InputError, match="no such thing"):
        cpu_seconds(["-c", "raise SystemExit('no such thing')"], {})
