"""Long runs: interruptions, full disks, several processes, memory."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from sgovss.rasters import scene as scene_module

from .conftest import SMALL, UTM, WORDS, read


def test_an_interrupted_scene_continues(demo, write_raster, scene_pixels, monkeypatch):
    path = write_raster(scene_pixels, **UTM)
    opts = [*SMALL, "TEST.SCENE.MEMORY", "0"]  # several strips
    _, out, _ = demo(path, "--confidence", opts=opts)
    whole = (out / "scene_labels.tif").read_bytes()
    (out / "scene_labels.tif").unlink()
    save = scene_module.ChunkStore.save
    left = iter(range(3))

    def until(self, chunk, **arrays):
        if next(left, None) is None:
            raise KeyboardInterrupt
        save(self, chunk, **arrays)

    monkeypatch.setattr(scene_module.ChunkStore, "save", until)
    with pytest.raises(KeyboardInterrupt):
        demo(path, "--confidence", opts=opts)
    assert not (out / "scene_labels.tif").exists()
    saved = []
    monkeypatch.setattr(
        scene_module.ChunkStore, "save", lambda self, chunk, **a: saved.append(chunk) or save(self, chunk, **a)
    )
    assert demo(path, "--confidence", "--resume", opts=opts)[0] == 0
    assert (out / "scene_labels.tif").read_bytes() == whole
    chunks = len(saved)
    demo(path, "--confidence", opts=opts)
    assert len(saved) - chunks == chunks + 3
    assert not (out / "scene.parts").exists()
    # A finished scene is not segmented again, unless other outputs are requested.
    count, report = len(saved), (out / "report.html").read_text()
    assert demo(path, "--confidence", "--resume", opts=opts)[0] == 0
    assert len(saved) == count
    assert (out / "report.html").read_text().count("<td") == report.count("<td")
    demo(path, "--confidence", "--resume", "--polygons", opts=opts)
    assert len(saved) > count
    # A scene with a missing output is not finished.
    count = len(saved)
    (out / "scene_polygons.gpkg").unlink()
    demo(path, "--confidence", "--resume", "--polygons", opts=opts)
    assert len(saved) > count and (out / "scene_polygons.gpkg").is_file()


def test_other_settings_are_not_resumed(demo, write_raster, scene_pixels, monkeypatch):
    path = write_raster(scene_pixels, **UTM)
    monkeypatch.setattr(
        scene_module, "write_labels", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    status, out, errors = demo(path)
    assert status == 1
    assert "cannot write (No space left on device); finished parts are kept, continue with --resume" in errors
    status, _, errors = demo(path, "--resume", words="car, tree")
    assert status == 1
    assert "--resume: " in errors and "was begun with other settings (legend)" in errors
    # The same scores, but a background name is a class now.
    demo(path, "--background", "grass")
    _, _, errors = demo(path, "--resume", words=f"{WORDS}, grass")
    assert "was begun with other settings (legend)" in errors
    assert list(out.glob("scene_labels.tif")) == []


def test_a_damaged_part_is_removed_and_computed_again(demo, write_raster, scene_pixels, monkeypatch):
    path = write_raster(scene_pixels, **UTM)
    save = scene_module.ChunkStore.save

    def damaging(self, chunk, **arrays):
        save(self, chunk, **arrays)
        if chunk.row == 1:
            file = self._path(chunk)
            file.write_bytes(file.read_bytes()[:100])

    monkeypatch.setattr(scene_module.ChunkStore, "save", damaging)
    status, _, errors = demo(path)
    assert status == 1 and "was damaged and has been removed; continue with --resume" in errors
    monkeypatch.setattr(scene_module.ChunkStore, "save", save)
    assert demo(path, "--resume")[0] == 0


def test_outputs_are_not_inputs(demo, write_raster, scene_pixels, tmp_path):
    write_raster(scene_pixels, **UTM)
    (tmp_path / "out").mkdir()
    for _ in range(2):
        assert demo(tmp_path)[0] == 0
    assert [path.name for path in (tmp_path / "out").glob("*_labels.tif")] == ["scene_labels.tif"]


def test_an_unexpected_failure_concerns_one_image_only(demo, write_raster, scene_pixels, tmp_path, monkeypatch):
    for name in ("a.tif", "b.tif"):
        write_raster(scene_pixels, name=name, **UTM)
    call = scene_module.RasterSegmenter.__call__

    def failing(self, path, target):
        if Path(path).name == "a.tif":
            raise RuntimeError("out of the ordinary")
        return call(self, path, target)

    monkeypatch.setattr(scene_module.RasterSegmenter, "__call__", failing)
    status, out, errors = demo(tmp_path)
    assert status == 1 and "RuntimeError: out of the ordinary" in errors
    assert (out / "b_labels.tif").is_file() and "out of the ordinary" in (out / "report.html").read_text()


@pytest.mark.slow
def test_killed_and_resumed_as_a_real_process(write_raster, scene_pixels, tmp_path, checkout):
    path = write_raster(np.tile(scene_pixels, (1, 4, 3)), **UTM)

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
    parts = tmp_path / "killed/scene.parts"
    deadline = time.monotonic() + 120
    while len(list(parts.glob("[0-9]*.npz"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(list(parts.glob("[0-9]*.npz"))) >= 3
    assert not (tmp_path / "killed/scene_labels.tif").exists()
    done = subprocess.run(command("killed", "--resume"), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "killed/scene_labels.tif").read_bytes() == (tmp_path / "whole/scene_labels.tif").read_bytes()


@pytest.fixture
def folder(write_raster, scene_pixels, tmp_path) -> Path:
    """Three scenes and a file that is not a raster."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    for name in "abc":
        write_raster(scene_pixels[:, : 100 + ord(name) % 5], name=f"{name}.tif", **UTM).rename(folder / f"{name}.tif")
    (folder / "broken.tif").write_text("no raster")
    return folder


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
@pytest.mark.parametrize("machines", [1, 2])
def test_a_folder_is_shared_over_processes(folder, tmp_path, checkout, machines):
    """Two processes, on one machine or on two: each scene is segmented by exactly one of them."""
    several = [["--processes", "2"]]
    if machines == 2:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        several = [["--num-machines", "2", "--machine-rank", rank, "--dist-url", url] for rank in "01"]
    processes = [start(checkout, folder, tmp_path / "out", *more) for more in several]
    outputs = [process.communicate(timeout=240) for process in processes]
    assert processes[0].returncode == 1, outputs[0][1][-2000:]
    said = "".join(out + error for out, error in outputs)
    assert "broken.tif: not a raster that can be read" in said and "1 of 4 images failed" in said
    summary = json.loads((tmp_path / "out/run.json").read_text())
    assert sorted(Path(image).name for image in summary["images"]) == ["a.tif", "b.tif", "c.tif"]
    for name in "abc":
        assert said.count(f"{name}_overlay.png") == 1
    assert (tmp_path / "out/report.html").read_text().count("<h2>") == 3


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
    """Seven times the pixels need at most 10 % more memory."""
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
    assert large["peak MB"] <= 1.1 * small["peak MB"]
