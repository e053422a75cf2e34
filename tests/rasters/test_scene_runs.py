"""Long runs: interruptions, full disks, memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from sgovss.errors import InputError
from sgovss.rasters import finishing
from sgovss.rasters import scene as scene_module
from sgovss.rasters.options import SceneOptions
from sgovss.rasters.partial import PartialOutputs
from sgovss.rasters.plan import ScenePlan
from sgovss.rasters.source import RasterSource

from .conftest import SMALL, UTM, WORDS, read
from .fake import FakeModel, fake_mapper, scene_of


@pytest.fixture
def kept(monkeypatch):
    """The units that are added to the unfinished outputs."""
    units = []
    keep = PartialOutputs.keep
    monkeypatch.setattr(
        PartialOutputs, "keep", lambda self, band: units.extend(unit for unit, _ in band) or keep(self, band)
    )
    return units


@pytest.mark.parametrize(
    ("error", "smallest"),
    [pytest.param(KeyboardInterrupt, 50, marks=pytest.mark.slow), (OSError(28, "No space left on device"), 0)],
)
def test_the_same_command_continues_and_the_result_is_the_same(
    write_raster, tmp_path, monkeypatch, caplog, error, smallest
):
    path = scene_of(write_raster, 1100, 1050, **UTM)
    options = SceneOptions(confidence=True, probabilities=True, min_area=smallest, min_area_in_pixels=True)
    model = FakeModel()
    mapper = fake_mapper(model, options=options, STRIDE=96, MEMORY=0)  # three strips of three bands
    began = time.monotonic()
    whole = mapper(path, tmp_path / "whole/scene")
    took, windows = time.monotonic() - began, model.windows
    assert float(whole.facts["time"].split(" s, ")[0]) <= took + 0.1 and "continues" not in caplog.text
    keep, left = PartialOutputs.keep, iter(range(4))

    def until(self, band):
        if next(left, None) is None:
            raise error
        keep(self, band)

    with monkeypatch.context() as patch:
        patch.setattr(PartialOutputs, "keep", until)
        with pytest.raises(
            error if isinstance(error, type) else InputError, match="" if isinstance(error, type) else "cannot write"
        ):
            mapper(path, tmp_path / "cut/scene")
    out = tmp_path / "cut"
    assert [file.name for file in out.iterdir()] == ["scene.parts"]
    assert len((out / "scene.parts/ledger.jsonl").read_text().splitlines()) == 4
    before = model.windows
    continued = mapper(path, out / "scene")
    assert f"{path}: continues, 4 of 9 parts are finished" in caplog.text
    assert model.windows - before < 0.8 * windows
    for kind, file in whole.files.items():
        if kind != "shares":
            assert file.read_bytes() == continued.files[kind].read_bytes(), kind
    assert (whole.shares, whole.areas) == (continued.shares, continued.areas)
    assert not (out / "scene.parts").exists()


def test_a_finished_scene_is_not_segmented_again(demo, write_raster, scene_pixels, kept, caplog):
    path = write_raster(scene_pixels, **UTM)
    _, out, _ = demo(path, "--confidence")
    count, report = len(kept), (out / "report.html").read_text()
    for flags in ([], ["--resume"]):
        assert demo(path, "--confidence", *flags)[0] == 0
        assert "already finished, nothing to do; --restart segments it again" in caplog.text
        caplog.clear()
    assert len(kept) == count
    assert (out / "report.html").read_text().count("<td") == report.count("<td")
    demo(path, "--confidence", "--restart")
    assert len(kept) == 2 * count
    # Other outputs are another result; a scene with a missing output is not finished.
    demo(path, "--confidence", "--polygons")
    assert len(kept) == 3 * count
    (out / "scene_polygons.gpkg").unlink()
    demo(path, "--confidence", "--polygons")
    assert len(kept) == 4 * count and (out / "scene_polygons.gpkg").is_file()


@pytest.fixture
def unfinished(demo, write_raster, scene_pixels, monkeypatch):
    """A scene whose units are finished, and whose outputs could not be written."""
    path = write_raster(scene_pixels, **UTM)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(finishing, "write_cog", full)
        status, _, errors = demo(path)
    assert status == 1
    assert "cannot write (No space left on device); finished parts are kept, repeat the command to continue" in errors
    return path


@pytest.mark.parametrize(
    ("options", "words", "changed"),
    [
        ([], "car, tree", "legend"),
        (["--gsd", "0.6"], WORDS, "size"),
        (["--confidence"], WORDS, "outputs"),
        (["--overlap", "0"], WORDS, "window"),
        (["--bands", "3,2,1"], WORDS, "bands"),
        (["--threshold", "0.5"], WORDS, "legend"),
    ],
)
def test_other_settings_than_those_of_the_unfinished_run(demo, unfinished, kept, tmp_path, options, words, changed):
    ledger = (tmp_path / "out/scene.parts/ledger.jsonl").read_text()
    for flags in ([], ["--resume"]):
        status, out, errors = demo(unfinished, *options, *flags, words=words)
        assert status == 1
        assert f"holds an unfinished run with other settings ({changed}); give the same settings" in errors
        assert "--restart" in errors
        assert (out / "scene.parts/ledger.jsonl").read_text() == ledger
    assert demo(unfinished)[0] == 0 and not kept  # nothing was lost


@pytest.mark.parametrize("name", ["polygons", "squaring_regions", "squaring_outlines", "squaring_pieces"])
def test_restart_removes_what_a_process_that_was_killed_has_left(name, demo, unfinished, tmp_path):
    parts = tmp_path / "out/scene.parts"
    for file in (parts / f"{name}.gpkg", parts / f"{name}.gpkg-journal"):
        file.write_bytes(b"half of it")
    status, _, errors = demo(unfinished, "--restart")
    assert status == 0, errors
    assert not parts.exists()


def test_restart_begins_anew(demo, unfinished, kept):
    assert demo(unfinished, "--restart", words="car, tree")[0] == 0
    assert len(kept) == 1


@pytest.mark.parametrize("lacks", [("no_data", "fillers"), ("strips",), ("units", "rows"), ("down",)])
def test_a_run_of_another_version_is_told_and_begun_anew(demo, unfinished, kept, tmp_path, lacks):
    file = tmp_path / "out/scene.parts/plan.json"
    content = json.loads(file.read_text())
    inner = content
    for key in lacks[:-1]:
        inner = inner[key]
    del inner[lacks[-1]]
    file.write_text(json.dumps(content))
    for flags in ([], ["--resume"]):
        status, _, errors = demo(unfinished, *flags)
        assert status == 1
        assert "scene.parts: holds a run begun by another version of sgovss; continue it with that version" in errors
    assert len(kept) == 0
    assert demo(unfinished, "--restart")[0] == 0
    assert len(kept) == 1 and not file.parent.exists()


@pytest.mark.parametrize("flags", [[], ["--resume"], ["--restart"]])
@pytest.mark.parametrize("kind", ["folder", "file", "folder with a plan of something else"])
def test_what_is_not_ours_is_refused_and_kept(demo, write_raster, scene_pixels, tmp_path, kind, flags):
    path, parts = write_raster(scene_pixels, **UTM), tmp_path / "out/scene.parts"
    parts.parent.mkdir()
    if kind == "file":
        parts.write_text("mine")
    else:
        parts.mkdir()
        (parts / ("plan.json" if "plan" in kind else "mine.txt")).write_text("mine")
    status, out, errors = demo(path, *flags)
    assert status == 1
    assert "scene.parts: needed for unfinished parts, but holds something else; move it away" in errors
    assert (parts if kind == "file" else next(parts.iterdir())).read_text() == "mine"
    assert not (out / "scene_labels.tif").exists()


@pytest.mark.parametrize("damage", ["tiles", "whole file", "picture", "last line"])
def test_damaged_parts_are_computed_again(demo, unfinished, kept, tmp_path, damage):
    parts = tmp_path / "out/scene.parts"
    labels = parts / "labels.tif"
    if damage == "tiles":
        content = labels.read_bytes()
        labels.write_bytes(content[:-600] + bytes(600))
    elif damage == "whole file":
        labels.write_bytes(b"nothing")
    elif damage == "picture":
        (parts / "picture.npy").unlink()
    else:
        line = (parts / "ledger.jsonl").read_text()
        (parts / "ledger.jsonl").write_text(line[: len(line) // 2])
    assert demo(unfinished)[0] == 0
    assert len(kept) == 1


def test_units_kept_in_any_order_give_the_same_files(write_raster, tmp_path):
    """As three workers do it: each fills some units, one process keeps them and writes the outputs."""
    path = scene_of(write_raster, 1100, 600)
    options = SceneOptions(confidence=True, probabilities=True, polygons=True, min_area=30, min_area_in_pixels=True)
    mapper = fake_mapper(FakeModel(constant=True), options=options, STRIDE=96, MEMORY=0)
    alone = mapper(path, tmp_path / "a/scene")
    plan = mapper.plan(path, tmp_path / "b/scene")
    plan = ScenePlan.from_json(json.loads(json.dumps(plan.as_json())))
    with RasterSource(path) as source:
        parts = PartialOutputs(plan, source, mapper.legend, mapper.scored, confidence=True, probabilities=True)
        units = [*plan.units.all()]
        for worker in reversed(range(3)):
            for unit in units[worker::3]:
                for band in fake_mapper(FakeModel(constant=True), options=options).fill(plan, [unit]):
                    parts.keep(band)
                    parts.keep(band)  # a unit that two workers filled changes nothing
    together = mapper.finish(plan)
    for kind, file in alone.files.items():
        if kind not in ("shares", "polygons"):
            assert file.read_bytes() == together.files[kind].read_bytes(), kind
    assert (alone.shares, alone.areas) == (together.shares, together.areas)


def test_a_scene_with_missing_units_is_not_written(write_raster, tmp_path):
    path = scene_of(write_raster, 600, 300)
    mapper = fake_mapper(FakeModel())
    plan = mapper.plan(path, tmp_path / "scene")
    with pytest.raises(InputError, match="2 parts are not finished yet; run the missing shares"):
        mapper.finish(plan)


def test_outputs_are_not_inputs(demo, write_raster, scene_pixels, tmp_path):
    write_raster(scene_pixels, **UTM)
    (tmp_path / "out").mkdir()
    for _ in range(2):
        assert demo(tmp_path)[0] == 0
    assert [path.name for path in (tmp_path / "out").glob("*_labels.tif")] == ["scene_labels.tif"]


def test_an_unexpected_failure_concerns_one_image_only(demo, write_raster, scene_pixels, tmp_path, monkeypatch):
    for name in ("a.tif", "b.tif"):
        write_raster(scene_pixels, name=name, **UTM)
    call = scene_module.SceneMapper.__call__

    def failing(self, path, target):
        if Path(path).name == "a.tif":
            raise RuntimeError("out of the ordinary")
        return call(self, path, target)

    monkeypatch.setattr(scene_module.SceneMapper, "__call__", failing)
    status, out, errors = demo(tmp_path)
    assert status == 1 and "RuntimeError: out of the ordinary" in errors
    assert (out / "b_labels.tif").is_file() and "out of the ordinary" in (out / "report.html").read_text()


@pytest.mark.slow
def test_killed_and_resumed_as_a_real_process(write_raster, scene_pixels, tmp_path, checkout):
    path = write_raster(np.tile(scene_pixels, (1, 6, 3)), **UTM)

    def command(out: str, *more: str) -> list[str]:
        argv = ["--config-file", "sgovss_tiny.yaml", "--input", path, "--vocabulary", WORDS, "--output", tmp_path / out]
        return [
            sys.executable,
            str(checkout / "demo/demo.py"),
            *map(str, [*argv, *more]),
            "--opts",
            "MODEL.DEVICE",
            "cpu",
            *SMALL,
        ]

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    assert subprocess.run(command("whole"), env=environment, capture_output=True, check=False).returncode == 0
    process = subprocess.Popen(command("killed"), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ledger = tmp_path / "killed/scene.parts/ledger.jsonl"
    deadline = time.monotonic() + 120
    while not (ledger.is_file() and ledger.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert ledger.read_text()
    assert not (tmp_path / "killed/scene_labels.tif").exists()
    done = subprocess.run(command("killed"), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "killed/scene_labels.tif").read_bytes() == (tmp_path / "whole/scene_labels.tif").read_bytes()


def start(checkout: Path, folder: Path, output: Path, *more: str) -> subprocess.Popen:
    argv = ["--config-file", "sgovss_tiny.yaml", "--input", folder, "--vocabulary", WORDS, "--output", output, *more]
    return subprocess.Popen(
        [sys.executable, str(checkout / "demo/demo.py"), *map(str, argv), "--opts", "MODEL.DEVICE", "cpu"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_full_disk(write_raster, scene_pixels, tmp_path, checkout):
    """On a file system of a few kilobytes: one line, and no incomplete file under its final name."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48k", "none", disk], capture_output=True, check=False
    ).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        path = write_raster(np.tile(scene_pixels, (1, 3, 3)), **UTM)
        process = start(checkout, path, disk / "out")
        _, error = process.communicate(timeout=240)
        assert process.returncode == 1, error[-2000:]
        assert "No space left on device" in error
        for file in disk.rglob("*_labels.tif"):
            assert read(file).shape == (600, 780), "incomplete under its final name"
    finally:
        subprocess.run(["umount", disk], check=False)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_scene(load_script, tmp_path):
    """Seven times the pixels need at most a quarter more memory; the peak of the same scene varies by a tenth."""
    tool = import_module("research.benchmark.__main__")
    opts = ["MODEL.CLIP.WEIGHTS", "random", "MODEL.DEVICE", "cpu", "TEST.SCENE.STRIDE", "512"]
    argv = [
        "scenes",
        "--sizes",
        "3000",
        "8000",
        "--classes",
        "10",
        "--json",
        str(tmp_path / "figures.json"),
        "--opts",
        *opts,
    ]
    assert tool.main(argv) == 0
    small, large = json.loads((tmp_path / "figures.json").read_text())["rows"]
    assert large["peak MB"] <= 1.25 * small["peak MB"]


def test_a_run_goes_on_in_a_folder_that_was_moved(write_raster, tmp_path, monkeypatch):
    path, mapper = scene_of(write_raster, 300, 320, **UTM), fake_mapper(FakeModel())
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(finishing.Finisher, "__call__", lambda self: (_ for _ in ()).throw(KeyboardInterrupt()))
        mapper(path, tmp_path / "old" / "scene")
    (tmp_path / "old").rename(tmp_path / "new")
    result = mapper(path, tmp_path / "new" / "scene")
    assert result.files["labels"].parent == tmp_path / "new" and not (tmp_path / "old").exists()


def test_other_colours_are_written_again(write_raster, tmp_path):
    path = scene_of(write_raster, 100, 120, **UTM)
    colours = []
    for colour in ("[1, 2, 3]", "[4, 5, 6]"):
        words = tmp_path / "words.yaml"
        words.write_text(f"classes:\n- {{name: road, color: {colour}}}\n- {{name: water}}\n")
        fake_mapper(FakeModel(), str(words))(path, tmp_path / "scene")
        with import_module("rasterio").open(tmp_path / "scene_labels.tif") as raster:
            colours.append(raster.colormap(1)[0][:3])
    assert colours == [(1, 2, 3), (4, 5, 6)]


def test_outputs_that_are_replaced_in_part_are_not_finished(write_raster, tmp_path, monkeypatch):
    path = scene_of(write_raster, 100, 120, **UTM)
    fake_mapper(FakeModel())(path, tmp_path / "scene")
    other = fake_mapper(FakeModel(), "road, water, sand")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(finishing.Finisher, "__call__", lambda self: (_ for _ in ()).throw(KeyboardInterrupt()))
        other(path, tmp_path / "scene")
    assert not (tmp_path / "scene_shares.json").exists()
