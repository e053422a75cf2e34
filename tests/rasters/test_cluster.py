"""Scenes on several workers: the same outputs as in one process, whatever happens to workers and scheduler."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("distributed", reason="needs the extra 'cluster'")
import dask
from distributed import Client, LocalCluster

from sgovss.errors import InputError
from sgovss.rasters import cluster_mapper
from sgovss.rasters.cluster import local_workers, remote_workers
from sgovss.rasters.cluster_mapper import ClusterMapper
from sgovss.rasters.options import SceneOptions
from sgovss.rasters.partial import begin
from sgovss.rasters.scene import SceneMapper
from sgovss.rasters.unit_files import UnitFiles

from .conftest import SMALL, UTM, WORDS, write_below
from .fake import FakeModel, fake_mapper, scene_of

OPTIONS = SceneOptions(confidence=True, probabilities=True, min_area=30, min_area_in_pixels=True)
SCENE = {"WINDOW": 192, "STRIDE": 160, "MEMORY": 0}  # strips of 512 pixels


class RecordingModel(FakeModel):
    """Writes the process of each call to a file of its own; fails for the value 7, and ends the process for 9.

    Args:
        folder: of the files.
        seconds: how long a window takes.
    """

    def __init__(self, folder: Path, seconds: float = 0.0) -> None:
        super().__init__(constant=True)
        self.file, self.seconds = folder / f"{uuid.uuid4().hex}.calls", seconds

    def score_maps(self, images, vocabulary):
        if (images == 7).all():
            raise RuntimeError("out of the ordinary")
        if (images == 9).all():
            os._exit(1)
        with self.file.open("a") as file:
            file.write(f"{os.getpid()}\n" * len(images))
        time.sleep(self.seconds)
        return super().score_maps(images, vocabulary)


def load(folder: Path, seconds: float = 0.0, fingerprint: str = "none", options: SceneOptions = OPTIONS) -> SceneMapper:
    """What a worker does to load the mapper."""
    mapper = fake_mapper(RecordingModel(folder, seconds), options=options, **SCENE)
    mapper.predictor.fingerprint = fingerprint
    return mapper


def calls(folder: Path) -> dict[str, list[int]]:
    """Model -> the process of each of its windows."""
    return {file.name: [int(line) for line in file.read_text().split()] for file in folder.glob("*.calls")}


def windows(folder: Path) -> int:
    return sum(map(len, calls(folder).values()))


def in_this_process(workers: int) -> LocalCluster:
    return LocalCluster(processes=False, n_workers=workers, threads_per_worker=1, dashboard_address=None)


@pytest.fixture
def client():
    """Two workers in this process."""
    with in_this_process(2) as cluster, Client(cluster) as client:
        yield client


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """A folder of two scenes, a.tif and b.tif, and of what one process writes for them, in ``one``."""
    folder = tmp_path_factory.mktemp("written")
    mapper = fake_mapper(FakeModel(constant=True), options=OPTIONS, **SCENE)
    for name, height, width in (("a", 1100, 550), ("b", 550, 600)):
        path = scene_of(partial(write_below, folder), height, width, name=f"{name}.tif", **UTM)
        mapper(path, folder / "one" / name)
    return folder


@pytest.fixture
def scenes(written, tmp_path):
    """Two scenes as images and targets, and what one process writes for them."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return [(tmp_path / f"{name}.tif", tmp_path / "many" / name) for name in "ab"]


def expect_equal(tmp_path: Path, names: str = "ab") -> None:
    """The files of several processes are those of one; times in the JSON differ."""
    for file in (tmp_path / "one").iterdir():
        if file.name[0] not in names:
            continue
        other = tmp_path / "many" / file.name
        if file.suffix == ".json":
            one, many = json.loads(file.read_text()), json.loads(other.read_text())
            assert (one["shares"], one["square_metres"]) == (many["shares"], many["square_metres"])
        else:
            assert file.read_bytes() == other.read_bytes(), file.name
    assert not list((tmp_path / "many").glob("*.parts"))


@pytest.mark.parametrize("name", ["b.tif", "GTIFF_DIR:1:b.tif"])
def test_workers_get_names_that_do_not_depend_on_the_folder(client, scenes, tmp_path, monkeypatch, name):
    submit, sent = client.submit, []
    monkeypatch.setattr(
        client, "submit", lambda *args, **options: sent.append(args[2].path) or submit(*args, **options)
    )
    monkeypatch.chdir(tmp_path)
    outcomes = list(
        ClusterMapper(client, load(tmp_path), partial(load, tmp_path), True)([(name, tmp_path / "many" / "b")])
    )
    assert [path for path, _, _ in outcomes] == [name]
    assert set(sent) == {name.replace("b.tif", str(tmp_path / "b.tif"))}
    expect_equal(tmp_path, "b")


@pytest.mark.parametrize("shared", [True, False])
def test_the_outputs_are_those_of_one_process(client, scenes, tmp_path, shared, monkeypatch):
    monkeypatch.setattr(cluster_mapper, "_RESULT", 0)  # the smallest parts
    run = ClusterMapper(client, load(tmp_path), partial(load, tmp_path), shared)
    results = list(run(scenes))
    assert sorted(path.name for path, _, _ in results) == ["a.tif", "b.tif"]
    assert all(result.facts["time"] for _, _, result in results)
    expect_equal(tmp_path)
    assert len(calls(tmp_path)) == 2, "each worker loads the model once"
    before = windows(tmp_path)
    assert len(list(run(scenes))) == 2 and windows(tmp_path) == before, "finished scenes are not segmented again"


def test_what_fails_is_told_and_the_rest_is_done(client, scenes, write_raster, tmp_path):
    bad = write_raster(np.full((3, 1100, 600), 7, np.uint8), name="bad.tif", **UTM)
    text = tmp_path / "text.tif"
    text.write_text("no raster")
    more = [(path, tmp_path / "many" / path.stem) for path in (text, bad)]
    found = list(ClusterMapper(client, load(tmp_path), partial(load, tmp_path))([*more, *scenes]))
    results = {path.name: result for path, _, result in found}
    assert len(found) == len(results) == 4
    assert str(results["bad.tif"]) == "out of the ordinary"
    assert "not a raster that can be read" in str(results["text.tif"])
    (tmp_path / "many/bad.parts").rename(tmp_path / "bad.parts")
    expect_equal(tmp_path)


@pytest.mark.parametrize("fault", ["another model", "no model"])
def test_a_worker_that_cannot_fill_is_told(client, scenes, tmp_path, fault):
    def broken():
        raise InputError("weights.pth: no such file")

    loader = broken if fault == "no model" else partial(load, tmp_path, fingerprint="other")
    results = list(ClusterMapper(client, load(tmp_path), loader)(scenes))
    message = "weights.pth: no such file" if fault == "no model" else "its model differs from the planner's"
    assert all(message in str(result) for _, _, result in results) and len(results) == 2


@pytest.mark.slow
def test_workers_that_join_late_take_parts(scenes, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(cluster_mapper, "_PATIENCE", 0.1)

    def join(cluster: LocalCluster) -> None:
        wait_for(lambda: "waiting for workers of inproc://" in caplog.text)
        cluster.scale(1)
        wait_for(lambda: list((tmp_path / "many").glob("*.parts/units/[0-9]*.npz")))
        cluster.scale(2)

    with in_this_process(0) as cluster, Client(cluster) as client:
        joining = threading.Thread(target=join, args=(cluster,))
        joining.start()
        assert len(list(ClusterMapper(client, load(tmp_path), partial(load, tmp_path, 0.02))(scenes))) == 2
        joining.join()
    expect_equal(tmp_path)
    assert len(calls(tmp_path)) == 2


@pytest.mark.slow
def test_another_run_continues_after_the_scheduler_is_lost(scenes, tmp_path):
    with in_this_process(1) as cluster, Client(cluster) as client:
        results = ClusterMapper(client, load(tmp_path), partial(load, tmp_path, 0.02))(scenes)
        closing = threading.Thread(target=close_after_a_unit, args=(cluster, tmp_path / "many"))
        closing.start()
        with pytest.raises(InputError, match=r"the scheduler is lost; .*finished parts are kept"):
            list(results)
        closing.join()
    done = windows(tmp_path)
    mapper = load(tmp_path)
    for path, target in scenes:  # one process continues what several have begun
        mapper(path, target)
    expect_equal(tmp_path)
    alone = tmp_path / "alone"
    alone.mkdir()
    for path, _ in scenes:
        load(alone)(path, alone / path.stem)
    assert windows(tmp_path) - done < windows(alone)


def close_after_a_unit(cluster, folder: Path) -> None:
    wait_for(lambda: list(folder.glob("*.parts/units/[0-9]*.npz")))
    cluster.close()


def address_in(file: Path, seconds: float = 60) -> str:
    """The address that a scheduler writes to a file, which may still be empty or half written."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return json.loads(file.read_text())["address"]
        except (FileNotFoundError, json.JSONDecodeError):
            assert time.monotonic() < deadline, "no scheduler started"
            time.sleep(0.01)


def wait_for(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.01)


def test_units_of_other_settings_and_damaged_files_are_not_used(scenes, tmp_path, caplog):
    path, target = scenes[0]
    others = fake_mapper(FakeModel(), "a, b, c", OPTIONS, **SCENE)
    plan = begin(others.plan(path, target))
    others.fill_files(plan, [*plan.units.all()][:2])
    mapper = load(tmp_path)
    with pytest.raises(InputError, match="holds an unfinished run with other settings"):
        mapper.plan(path, target)
    (target.with_name("a.parts") / "plan.json").unlink()  # as if the other run began anew and a worker were late
    own = begin(mapper.plan(path, tmp_path / "many/c"))
    mapper.fill_files(own, [*own.units.all()][:3])
    folder = tmp_path / "many/c.parts/units"
    for file in (target.with_name("a.parts") / "units").iterdir():
        file.rename(folder / file.name)
    first, second, _ = sorted(file for file in folder.iterdir() if UnitFiles(own)._ending in file.name)
    first.write_bytes(b"nothing")
    second.write_bytes(second.read_bytes()[:-100])
    assert len(mapper.missing(own)) == sum(1 for _ in own.units.all()) - 1
    assert caplog.text.count("damaged, this part is computed again") == 2
    mapper(path, tmp_path / "many/c")
    assert (tmp_path / "many/c_labels.tif").read_bytes() == (tmp_path / "one/a_labels.tif").read_bytes()


def test_a_folder_that_is_not_shared_is_told(scenes, tmp_path):
    mapper = load(tmp_path)
    plan = mapper.plan(*scenes[0])
    with pytest.raises(InputError, match="no such folder on this machine; give an --output that all machines share"):
        mapper.fill_files(plan, [*plan.units.all()][:1])


@pytest.mark.parametrize("size", [(600, 600), (5000, 700), (700, 5000), (9000, 5000)])
@pytest.mark.parametrize("workers", [1, 2, 7])
def test_parts_cover_the_scene_once_and_are_enough(write_raster, tmp_path, size, workers):
    path = write_raster(np.ones((3, *size), np.uint8), **UTM)
    plan = fake_mapper(FakeModel(), WINDOW=512, STRIDE=384).plan(path, tmp_path / "scene")
    units = [*plan.units.all()]
    parts = [*plan.parallel_order(units, workers)]
    assert sorted(unit for part in parts for unit in part) == sorted(units)
    strips = max(unit.strip for unit in units) + 1
    assert max(map(len, parts)) <= math.ceil(len(units) / workers) + strips - 1  # whole rows of units
    assert all(len({unit.band for unit in part}) <= 8 for part in parts)
    if workers == 1 and size[0] <= 8 * 512:
        assert parts == [*plan.serial_order(units)]


@pytest.mark.parametrize("shares", [1, 3])
def test_shares_fill_everything_once(scenes, tmp_path, shares):
    from sgovss.mapping.shares import Share, fill_share

    class Segmenter:
        mapper = load(tmp_path)

        def is_scene(self, path):
            return path.suffix == ".tif"

    images = {path: Path(path.stem) for path, _ in scenes}
    for number in range(shares, 0, -1):
        if number == 1:
            with pytest.raises(InputError, match="parts are not finished yet; run the missing shares"):
                Segmenter.mapper.finish(Segmenter.mapper.plan(*scenes[0]))
        assert fill_share(Segmenter(), images, tmp_path / "many", Share(number, shares)) == 0
    before = windows(tmp_path)
    assert fill_share(Segmenter(), images, tmp_path / "many", Share(1, shares)) == 0
    assert windows(tmp_path) == before
    for path, target in scenes:
        Segmenter.mapper.finish(Segmenter.mapper.plan(path, target))
    expect_equal(tmp_path)


def test_of_several_plans_the_first_is_used(scenes, tmp_path):
    """Machines may choose other batches."""
    path, target = scenes[0]
    first, second = (fake_mapper(FakeModel(), options=OPTIONS, **SCENE, BATCH=batch) for batch in (1, 4))
    plans = [mapper.plan(path, target) for mapper in (first, second)]
    threads = [threading.Thread(target=lambda plan=plan: begin(plan)) for plan in plans * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert begin(plans[0]) == begin(plans[1])
    assert [file.name for file in (tmp_path / "many").iterdir()] == ["a.parts"]
    assert [file.name for file in (tmp_path / "many/a.parts").iterdir()] == ["plan.json"]


@pytest.mark.slow
def test_a_worker_is_killed(scenes, tmp_path):
    folder, killed = tmp_path / "many", []

    def kill() -> None:
        wait_for(lambda: len(calls(tmp_path)) == 2 and list(folder.glob("*.parts/units/[0-9]*.npz")))
        killed.append(next(iter(calls(tmp_path).values()))[0])
        os.kill(killed[0], signal.SIGKILL)

    mapper = load(tmp_path / "none")
    with local_workers(2) as client:
        killer = threading.Thread(target=kill)
        killer.start()
        results = list(ClusterMapper(client, mapper, partial(load, tmp_path, 0.02))(scenes))
        killer.join()
    assert not [result for _, _, result in results if isinstance(result, Exception)]
    expect_equal(tmp_path)
    (lost,) = [numbers for numbers in calls(tmp_path).values() if numbers[0] == killed[0]]
    parts = windows(tmp_path) - len(lost)
    assert parts > 0 and len(lost) < windows(tmp_path) / 2, "killed in the middle"


@pytest.mark.slow
def test_a_part_that_ends_its_workers_is_told(scenes, write_raster, tmp_path):
    bad = write_raster(np.full((3, 300, 300), 9, np.uint8), name="bad.tif", **UTM)
    images = [(bad, tmp_path / "many/bad"), *scenes]
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}), local_workers(2) as client:
        run = ClusterMapper(client, load(tmp_path / "none"), partial(load, tmp_path))
        results = {path.name: str(result) for path, _, result in run(images)}
    assert results["bad.tif"].startswith(
        f"{bad}: 2 workers were lost while they filled the same part, perhaps for lack"
    )
    (tmp_path / "many/bad.parts").rename(tmp_path / "bad.parts")
    expect_equal(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "scheduler"])
def test_processes_of_dask_are_killed(scenes, tmp_path, checkout, victim):
    """A scheduler and workers as 'dask' starts them, and a folder that is not shared."""
    ready = tmp_path / "scheduler.json"
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    quiet = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    dask = [sys.executable, "-m", "dask"]
    place = ["--scheduler-file", str(ready), "--no-dashboard"]
    started = [subprocess.Popen([*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", *place], **quiet)]
    try:
        worker = [*dask, "worker", *place, "--nthreads", "1", "--no-nanny", "--death-timeout", "30"]
        started += [subprocess.Popen(worker, **quiet) for _ in range(2)]
        with remote_workers(address_in(ready)) as client:
            client.wait_for_workers(2, timeout=60)
            mapper = load(tmp_path / "none")
            run = ClusterMapper(client, mapper, partial(load, tmp_path, 0.02), shared=victim == "scheduler")
            killed = started[1 if victim == "worker" else 0]

            def kill() -> None:
                wait_for(lambda: len(calls(tmp_path)) >= 2)
                killed.kill()

            killer = threading.Thread(target=kill)
            killer.start()
            if victim == "scheduler":
                with pytest.raises(InputError, match="the scheduler is lost"):
                    list(run(scenes))
                for path, target in scenes:
                    mapper_alone = load(tmp_path)
                    mapper_alone(path, target)
            else:
                assert not [result for _, _, result in run(scenes) if isinstance(result, Exception)]
            killer.join()
        expect_equal(tmp_path)
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_the_command_with_workers_writes_what_it_writes_without(write_raster, scene_pixels, tmp_path, checkout):
    folder = tmp_path / "scenes"
    folder.mkdir()
    write_raster(np.tile(scene_pixels, (1, 3, 2)), name="large.tif", **UTM).rename(folder / "large.tif")
    write_raster(scene_pixels, name="small.tif", **UTM).rename(folder / "small.tif")
    (folder / "broken.tif").write_text("no raster")

    def run(output: str, *more: str, status: int = 1) -> str:
        argv = ["segment", "--config-file", "sgovss_tiny.yaml", "--input", "scenes", "--vocabulary", WORDS]
        opts = ["--opts", "MODEL.DEVICE", "cpu", "TEST.SCENE.MEMORY", "0", *SMALL]
        environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "sgovss", *argv, "--output", output, *more, *opts],
            env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == status, done.stderr[-2000:]
        return done.stderr

    run("one")
    said = run("many", "--workers", "2")
    assert "broken.tif: not a raster that can be read" in said and "1 of 3 images failed" in said
    one, many = tmp_path / "one", tmp_path / "many"
    for name in ("large_labels.tif", "small_labels.tif", "large_overlay.png"):
        assert (one / name).read_bytes() == (many / name).read_bytes()
    assert (many / "report.html").read_text().count("<h2>") == 2


def test_the_command_with_shares(demo, write_raster, scene_pixels, tmp_path, monkeypatch):
    folder = tmp_path / "scenes"
    folder.mkdir()
    for name in "ab":
        write_raster(scene_pixels[:, : 100 + ord(name) % 5], name=name, **UTM).rename(folder / f"{name}.tif")
    (folder / "broken.tif").write_text("no raster")
    assert demo(folder)[0] == 1
    out = tmp_path / "out"
    out.rename(tmp_path / "one")
    (tmp_path / "many").symlink_to(out)
    monkeypatch.setenv("AWS_BATCH_JOB_ARRAY_INDEX", "1")
    monkeypatch.setenv("AWS_BATCH_JOB_ARRAY_SIZE", "2")
    status, _, errors = demo(folder, "--share")
    assert status == 1 and errors.count("broken.tif: not a raster that can be read") == 1
    status, _, errors = demo(folder, "--finish")
    assert status == 1 and "1 parts are not finished yet" in errors and "2 of 3 images failed" in errors
    assert demo(folder, "--share", "1/2")[0] == 1
    status, _, errors = demo(folder, "--finish")
    assert status == 1 and "1 of 3 images failed" in errors
    expect_equal_outputs(tmp_path)
    assert (out / "report.html").read_text().count("<h2>") == 2


def expect_equal_outputs(tmp_path: Path) -> None:
    for name in "ab":
        for ending in ("labels.tif", "overlay.png"):
            file = f"{name}_{ending}"
            assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "out" / file).read_bytes()
    assert not list((tmp_path / "out").glob("*.parts"))
