"""Each config key of MODEL, INPUT, SOLVER and TEST changes what it should. A new key needs a row."""

from __future__ import annotations

import pytest
from detectron2.config import get_cfg

from sgovss.config import add_sgovss_config
from tests.config_effects import inference_keys, input_keys, model_keys, solver_keys
from tests.config_effects.row import DIFFERENT, Case
from tests.test_config_changes import keys_of

PARTS = (model_keys, input_keys, solver_keys, inference_keys)
ROWS = {key: row for part in PARTS for key, row in part.ROWS.items()}
UNREAD = " ".join(part.UNREAD for part in PARTS).split()


def test_every_key_has_a_row_or_is_one_that_nothing_reads():
    cfg = get_cfg()
    add_sgovss_config(cfg)
    every = keys_of(cfg)
    asked = {key for key in every if key.startswith(("MODEL.", "INPUT.", "SOLVER.", "TEST."))}
    unread = {key for key in asked if any(f"{key}.".startswith(f"{each}.") for each in UNREAD)}
    assert sorted(asked - unread - ROWS.keys()) == [], "a new key needs a row in tests/config_effects"
    assert sorted(ROWS.keys() - asked) == []
    assert sorted(ROWS.keys() & unread) == []


@pytest.mark.parametrize("key", ROWS)
def test_a_key_changes_what_it_should(key, run_options, tmp_path):
    value, observe, expected, given = ROWS[key]
    results = []
    for name, added in (("before", ()), ("after", (key, value))):
        folder = tmp_path / name
        folder.mkdir()
        results.append(observe(Case(tuple(map(str, (*given, *added))), folder, tuple(run_options))))
    before, after = results
    assert before != after
    assert expected is DIFFERENT or after == expected
