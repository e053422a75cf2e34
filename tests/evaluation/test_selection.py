"""Choice of the best checkpoint, and its files."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from sgovss.errors import InputError
from sgovss.evaluation.selection import METRICS, Evaluated, best_checkpoint, selection_table, write_selection

UNDEFINED = dict.fromkeys(METRICS)


def evaluated(step: int, val: float, test: float, **scores: float | None) -> Evaluated:
    on_val = {**UNDEFINED, "mIoU": val, **scores}
    return Evaluated(f"model_{step - 1:07}.pth", step, {"a_val": on_val, "a_test": {**UNDEFINED, "mIoU": test}})


RUN = [evaluated(300, 50.0, 61.0), evaluated(100, 40.0, 70.0), evaluated(200, 50.0, 62.0, unseen_mIoU=8.0)]


@pytest.mark.parametrize(
    ("dataset", "metric", "step"),
    [("a_val", "mIoU", 200), ("a_test", "mIoU", 100), ("a_val", "unseen_mIoU", 200)],
)
def test_the_highest_score_wins_and_the_earlier_of_two_equal_ones(dataset, metric, step):
    assert best_checkpoint(RUN, dataset, metric).step == step


def test_a_score_of_zero_is_a_score():
    assert best_checkpoint([evaluated(10, 0.0, 1.0)], "a_val", "mIoU").step == 10


def test_a_score_that_no_checkpoint_has():
    with pytest.raises(InputError, match="--metric harmonic_mIoU: undefined on a_val"):
        best_checkpoint(RUN, "a_val", "harmonic_mIoU")


def test_the_table_names_the_test_sets_if_there_are_several():
    headers, rows = selection_table(RUN)
    assert headers[:3] == ["checkpoint", "step", "a_val mIoU"] and headers[6] == "a_test mIoU"
    assert rows[0][:3] == ["model_0000299.pth", 300, 50.0]
    alone = [Evaluated(each.name, each.step, {"a_val": each.scores["a_val"]}) for each in RUN]
    assert selection_table(alone)[0] == ["checkpoint", "step", *METRICS]


def test_the_files(tmp_path):
    assert write_selection(RUN, "a_val", "mIoU", tmp_path).step == 200
    names = {path.name for path in tmp_path.iterdir()}
    tables = {f"checkpoints.{suffix}" for suffix in ("json", "md", "tex", "csv")}
    assert names == tables | {"a_val_curves.png", "a_test_curves.png"}
    content = json.loads((tmp_path / "checkpoints.json").read_text())
    assert (content["best"], content["chosen_by"]) == ("model_0000199.pth", {"dataset": "a_val", "metric": "mIoU"})
    assert [each["step"] for each in content["checkpoints"]] == [100, 200, 300]
    with Image.open(tmp_path / "a_val_curves.png") as picture:
        assert min(picture.size) > 200
