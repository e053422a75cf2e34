"""What a run on a scene tells: how far it is, how long it took, and what is missing."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from sgovss.errors import InputError
from sgovss.rasters import scene as scene_module
from sgovss.rasters.partial import begin

from .conftest import UTM
from .fake import FakeModel, fake_mapper, scene_of


@pytest.fixture
def scene(write_raster):
    """A scene of 200 x 260 pixels, which is 0.052 megapixels."""
    return scene_of(write_raster, 200, 260, **UTM)


@pytest.mark.parametrize(
    ("started", "expected"), [(99.6, "0.4 s, 0.13 megapixels a second"), (79.2, "20.8 s, 0.00 megapixels a second")]
)
def test_time_and_speed_are_those_since_the_start(scene, tmp_path, monkeypatch, started, expected):
    mapper = fake_mapper(FakeModel())
    plan = mapper.plan(scene, tmp_path / "scene")
    begin(plan)
    mapper.fill_files(plan, [*plan.units.all()])
    monkeypatch.setattr(scene_module, "time", SimpleNamespace(monotonic=lambda: 100.0))
    monkeypatch.setattr(scene_module, "peak_megabytes", lambda: 1234.4)
    facts = mapper.finish(plan, started).facts
    assert facts["time"] == expected and facts["peak memory"] == "1,234 MB, of the process so far"


def test_what_is_not_known_is_not_told(scene, tmp_path, monkeypatch):
    mapper = fake_mapper(FakeModel())
    plan = mapper.plan(scene, tmp_path / "scene")
    begin(plan)
    mapper.fill_files(plan, [*plan.units.all()])
    monkeypatch.setattr(scene_module, "peak_megabytes", lambda: math.nan)
    facts = mapper.finish(plan).facts
    assert not {"time", "peak memory"} & facts.keys() and facts["size"].startswith("260")
    assert not (tmp_path / "scene.parts").exists()


def test_a_run_tells_how_far_it_is_and_where_it_continues(write_raster, tmp_path, caplog):
    """One of its parts is filled by another process before."""
    path = scene_of(write_raster, 600, 300)
    mapper = fake_mapper(FakeModel())
    plan = mapper.plan(path, tmp_path / "scene")
    units = [*plan.units.all()]
    assert len(units) == 2
    begin(plan)
    with pytest.raises(InputError, match=r"scene\.parts: 2 parts are not finished yet"):
        mapper.finish(plan)
    mapper.fill_files(plan, units[:1])
    with pytest.raises(InputError, match=r"scene\.parts: 1 parts are not finished yet"):
        mapper.finish(plan)
    told: list[float] = []
    mapper(path, tmp_path / "scene", told.append)
    assert f"{path}: continues, 1 of 2 parts are finished" in caplog.text
    assert told == [1]


def test_a_new_run_does_not_continue_and_a_finished_one_is_told(scene, tmp_path, caplog):
    mapper, told = fake_mapper(FakeModel()), []
    mapper(scene, tmp_path / "scene", told.append)
    assert "continues" not in caplog.text and "finished" not in caplog.text and told[-1] == 1
    count = len(told)
    mapper(scene, tmp_path / "scene", told.append)
    assert f"{scene}: already finished, nothing to do; --restart" in caplog.text and len(told) == count


def test_a_run_whose_parts_are_all_filled_does_not_continue_them(scene, tmp_path, caplog):
    mapper, told = fake_mapper(FakeModel()), []
    plan = mapper.plan(scene, tmp_path / "scene")
    begin(plan)
    mapper.fill_files(plan, [*plan.units.all()])
    mapper(scene, tmp_path / "scene", told.append)
    assert "continues" not in caplog.text and told == []
