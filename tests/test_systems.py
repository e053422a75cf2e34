"""Systems other than Linux, as far as they can be imitated here. Nothing was run on Windows or macOS."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from sgovss.resources import memory_of_machine, peak_megabytes
from tests.fixtures.hidden_modules import POSIX_ONLY

IMPORT_ALL = """
import importlib, pkgutil
from tests.fixtures.hidden_modules import hide
hide()
import sgovss
for module in pkgutil.walk_packages(sgovss.__path__, "sgovss."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from sgovss.files import sole_run
from sgovss.resources import peak_megabytes
with sole_run("out"):
    pass
print("imported", peak_megabytes() > 0)
"""

WRITE = """
from pathlib import Path
from tests.fixtures.hidden_modules import hide
hide()
from sgovss.files import allocate, atomic_path, replace_durably, write_json_atomically
write_json_atomically("a.json", [1])
with atomic_path("b/c.bin") as path:
    path.write_bytes(b"1")
Path("d").write_bytes(b"2")
replace_durably(Path("d"), Path("e"))
allocate(Path("f"), 1000)
allocate(Path("f"), 10)
print([Path(name).stat().st_size for name in ("a.json", "b/c.bin", "e", "f")])
"""


def run(*arguments: str, folder: Path, checkout: Path) -> subprocess.CompletedProcess:
    """Run Python in another folder, with the checkout on its path."""
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=300,
        check=False,
        env={"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "PATH": "", "HOME": str(folder)},
    )


@pytest.mark.slow
def test_every_module_imports_without_posix_modules(tmp_path, checkout):
    pytest.importorskip("rasterio", reason="needs the extra 'geo'")
    pytest.importorskip("onnx", reason="needs the extra 'onnx'")
    done = run("-c", IMPORT_ALL, folder=tmp_path, checkout=checkout)
    assert done.stdout.strip().endswith("imported True"), done.stderr[-2000:]


def test_files_are_written_without_posix_functions(tmp_path, checkout):
    done = run("-c", WRITE, folder=tmp_path, checkout=checkout)
    assert done.stdout.strip() == "[8, 1, 1, 1000]", done.stderr[-2000:]


def test_the_modules_are_hidden(tmp_path, checkout):
    """A module of sgovss that imports one of them would be found."""
    (tmp_path / "sgovss_probe.py").write_text("import fcntl")
    for name in POSIX_ONLY[:3]:
        code = (
            f"from tests.fixtures.hidden_modules import hide; hide(); exec('import {name}', {{'__name__': 'sgovss.x'}})"
        )
        assert "ModuleNotFoundError" in run("-c", code, folder=tmp_path, checkout=checkout).stderr


@pytest.mark.slow
def test_the_pure_python_part_of_the_suite_passes_without_posix_modules(checkout):
    files = [str(path) for path in (*checkout.glob("tests/test_*.py"), *checkout.glob("tests/data/test_[a-l]*.py"))]
    left_out = ("test_installed", "test_packaging", "test_systems", "test_release", "test_allocator")
    chosen = [file for file in files if Path(file).stem not in left_out]
    options = ("-q", "-p", "tests.fixtures.hidden_modules", "-p", "no:cacheprovider", "-k", "not one_run_at_a_time and "
               "not leaves_no_lock and not on_the_disk_before")  # fmt: skip
    done = run("-m", "pytest", *options, *chosen, folder=checkout, checkout=checkout)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize(("platform", "unit"), [("darwin", 2**20), ("freebsd14", 2**10)])
def test_peak_memory_has_the_unit_of_the_system(monkeypatch, platform, unit):
    usage = types.SimpleNamespace(ru_maxrss=300 * unit)
    fake = types.SimpleNamespace(getrusage=lambda _: usage, RUSAGE_SELF=0)
    monkeypatch.setitem(sys.modules, "resource", fake)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "is_file", lambda _: False)  # no /proc
    assert peak_megabytes() == 300


def test_peak_memory_is_not_known_without_the_module(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setattr(Path, "is_file", lambda _: False)
    assert math.isnan(peak_megabytes())


def test_the_memory_of_a_machine_is_known_or_assumed(monkeypatch):
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1_000_000}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    assert memory_of_machine() == 4_096_000_000
    monkeypatch.delattr(os, "sysconf")
    assert memory_of_machine() == 8 * 1024**3
