"""Files are whole or absent."""

import gc
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sgovss.errors import InputError
from sgovss.files import allocate, atomic_path, replace_durably, sole_run, write_json_atomically


def test_json_round_trip_creates_folders(tmp_path):
    path = tmp_path / "a" / "b.json"
    write_json_atomically(path, {"name": "Straße", "value": None})
    assert json.loads(path.read_text(encoding="utf-8")) == {"name": "Straße", "value": None}


def test_an_interrupted_write_keeps_the_old_file_and_leaves_nothing(tmp_path):
    path = tmp_path / "numbers.json"
    write_json_atomically(path, [1])
    with pytest.raises(ValueError, match="Out of range"):
        write_json_atomically(path, [2, float("nan")])
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert json.loads(path.read_text()) == [1]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
def test_the_umask_decides_who_may_read_a_file_of_safetensors(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with atomic_path(tmp_path / "a.safetensors") as partial:
            save_file({"a": torch.zeros(1)}, partial)
    finally:
        os.umask(before)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == mode


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write here"):
        write_json_atomically(tmp_path / "file" / "x.json", {})


def test_a_folder_is_for_one_run_at_a_time(tmp_path):
    with sole_run(tmp_path / "out"):
        # Another process's handle has its own lock, as another open file of this one has.
        with pytest.raises(InputError, match=r"out: another run is writing here; wait"), sole_run(tmp_path / "out"):
            pass
        with sole_run(tmp_path / "out", ".other"):
            pass
    with sole_run(tmp_path / "out"):
        pass


def test_a_killed_run_leaves_no_lock_to_its_forks(tmp_path):
    """Loader workers are forks, and notice the end of a killed run only after seconds."""
    code = f"""
import os, time
from sgovss.files import sole_run
with sole_run({str(tmp_path)!r}):
    if not os.fork():  # in the child
        print("in", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        assert run.stdout.readline() == "in\n"
        with pytest.raises(InputError, match="another run"), sole_run(tmp_path):
            pass
        run.kill()
        run.wait()
        with sole_run(tmp_path):
            pass
        os.killpg(run.pid, signal.SIGKILL)


def test_many_runs_of_a_process_keep_no_file_of_theirs(tmp_path):
    for number in range(5):
        with sole_run(tmp_path / str(number)):
            pass
    names = [str(each.name) for each in gc.get_objects() if type(each) is io.TextIOWrapper]
    assert not [name for name in names if name.startswith(str(tmp_path))]


def test_a_killed_run_leaves_no_lock(tmp_path):
    code = f"""
import time
from sgovss.files import sole_run
with sole_run({str(tmp_path)!r}):
    print("in", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "in\n"
        with pytest.raises(InputError, match="another run"), sole_run(tmp_path):
            pass
        process.kill()
    with sole_run(tmp_path):
        pass


def test_a_folder_that_cannot_be_locked_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file: cannot write here \(File exists\)"), sole_run(tmp_path / "file"):
        pass


@pytest.mark.parametrize("way", ["atomic_path", "write_json_atomically", "replace_durably"])
def test_content_is_on_the_disk_before_the_name(tmp_path, monkeypatch, way):
    """A file is synchronised, then renamed, then the folder is synchronised."""
    done = []
    synchronise, rename = os.fsync, Path.replace
    monkeypatch.setattr(
        os, "fsync", lambda number: done.append(str(Path(f"/proc/self/fd/{number}").readlink())) or synchronise(number)
    )
    monkeypatch.setattr(Path, "replace", lambda self, other: done.append("renamed") or rename(self, other))
    path = tmp_path / "a.json"
    if way == "atomic_path":
        with atomic_path(path) as partial:
            partial.write_text("{}")
    elif way == "write_json_atomically":
        write_json_atomically(path, {})
    else:
        (tmp_path / "b").write_text("{}")
        replace_durably(tmp_path / "b", path)
    assert [Path(name).parent == tmp_path for name in done] == [True, False, False]
    assert done[1:] == ["renamed", str(tmp_path)]


@pytest.mark.parametrize("reserves", [True, False])
@pytest.mark.parametrize("size", [0, 5, 10_000])
def test_allocated_space_is_there(tmp_path, monkeypatch, size, reserves):
    if not reserves:  # as on macOS
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    allocate(tmp_path / "a", size)
    assert (tmp_path / "a").stat().st_size == size
    if size:
        with pytest.raises(OSError, match=r"No space|too large|Invalid"):
            allocate(tmp_path / "b", 2**62)
    (tmp_path / "c").write_bytes(b"content")
    allocate(tmp_path / "c", size)
    assert (tmp_path / "c").read_bytes().startswith(b"content")
    allocate(tmp_path / "c")
    assert (tmp_path / "c").stat().st_size == max(size, 7)
