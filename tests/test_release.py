"""Releases: two builds of a commit are equal, what the checks accept and refuse, and the checksums."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from sgovss.version import __version__

FILES = ("setup.py", "pyproject.toml", "MANIFEST.in", "LICENSE", "NOTICE", "CITATION.cff", "README.md", "CHANGELOG.md")


@pytest.fixture(scope="module")
def tool(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("tools/release.py")


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def repository(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the files that a release needs."""
    folder = tmp_path_factory.mktemp("repository") / "one"
    for part in ("sgovss", "configs", "datasets"):
        shutil.copytree(checkout / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES:
        shutil.copy(checkout / file, folder)
    (folder / "tests").mkdir()
    (folder / "tests" / "test_nothing.py").touch()
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "all")
    return folder


@pytest.fixture
def changed_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.slow
def test_two_builds_are_equal_byte_for_byte(
    tool: ModuleType, repository: Path, tmp_path: Path, changed_umask: None
) -> None:
    """The second is of a clone, whose files have other times and permissions, in another folder."""
    clone = tmp_path / "a clone"
    subprocess.run(["git", "clone", "--quiet", repository, clone], check=True)
    built = []
    for place, umask in ((repository, 0o022), (clone, 0o077)):
        os.umask(umask)
        source, output = tmp_path / f"source{umask}", tmp_path / f"output{umask}"
        output.mkdir()
        epoch = tool.export_commit(place, source)
        assert tool.version_of(source) == __version__
        files = tool.build(source, output, epoch)
        tool.check_contents(source, *files)
        built.append({file.name: file.read_bytes() for file in files})
    assert built[0].keys() == {f"sgovss-{__version__}.tar.gz", f"sgovss-{__version__}-py3-none-any.whl"}
    assert built[0] == built[1]
    sdist = tmp_path / "output63" / f"sgovss-{__version__}.tar.gz"
    with tarfile.open(sdist) as archive:
        assert not [name for name in archive.getnames() if "/tests/" in name]
        assert {(entry.mtime, entry.uid, entry.uname) for entry in archive} == {(epoch, 0, "")}


def test_files_that_differ_from_the_commit_are_refused(tool: ModuleType, repository: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", repository, clone], check=True)
    assert tool.export_commit(clone, tmp_path / "source") > 1e9
    (clone / "sgovss" / "new.py").touch()
    with pytest.raises(tool.ReleaseError, match="files differ from the last commit; commit them"):
        tool.export_commit(clone, tmp_path / "again")
    with pytest.raises(tool.ReleaseError, match=r"git .*failed: "):
        tool.export_commit(tmp_path, tmp_path / "nowhere")


@pytest.mark.parametrize("changes", ["# Changelog\n\n## Unreleased\n", "## 9.9.9.1\n", f"- as {__version__}\n"])
def test_a_version_without_its_changes_is_refused(tool: ModuleType, tmp_path: Path, changes: str) -> None:
    (tmp_path / "sgovss").mkdir()
    (tmp_path / "sgovss" / "version.py").write_text('__version__ = "9.9.9"\n')
    (tmp_path / "CHANGELOG.md").write_text(changes)
    with pytest.raises(tool.ReleaseError, match=r"no section '## 9\.9\.9'"):
        tool.version_of(tmp_path)
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 9.9.9 (2026-12-01)\n")
    assert tool.version_of(tmp_path) == "9.9.9"


def test_the_changelog_has_a_section_for_this_version(tool: ModuleType, checkout: Path) -> None:
    assert tool.version_of(checkout) == __version__


@pytest.fixture
def small_release(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Sources, and an sdist and a wheel of them."""
    source = tmp_path / "source"
    needed = ["setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "CHANGELOG.md", "LICENSE", "NOTICE"]
    own = ["sgovss/a.py", "sgovss/assets/b.bin", "configs/c.yaml", "datasets/protocols/d.yaml"]
    for name in [*needed, *own, "tests/test_a.py", "datasets/e.py"]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    sdist, wheel = tmp_path / "sgovss-1.tar.gz", tmp_path / "sgovss-1-py3-none-any.whl"
    with tarfile.open(sdist, "w:gz") as archive:
        for name in [*needed, *own]:
            archive.add(source / name, f"sgovss-1/{name}")
    with zipfile.ZipFile(wheel, "w") as packed:
        for name in own:
            packed.write(source / name, name if name.startswith("sgovss/") else f"sgovss/{name}")
        for name in ("METADATA", "licenses/LICENSE", "licenses/NOTICE"):
            packed.writestr(f"sgovss-1.dist-info/{name}", "")
    return source, sdist, wheel


def without(wheel: Path, left_out: str) -> None:
    with zipfile.ZipFile(wheel) as packed:
        content = {name: packed.read(name) for name in packed.namelist() if name != left_out}
    with zipfile.ZipFile(wheel, "w") as packed:
        for name, text in content.items():
            packed.writestr(name, text)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("sgovss/configs/c.yaml", "no sgovss/configs/c.yaml"),
        ("sgovss/assets/b.bin", "no sgovss/assets/b.bin"),
        ("sgovss-1.dist-info/licenses/NOTICE", "no NOTICE"),
    ],
)
def test_a_wheel_without_a_file_is_refused(
    tool: ModuleType, small_release: tuple[Path, Path, Path], name: str, told: str
) -> None:
    tool.check_contents(*small_release)
    without(small_release[2], name)
    with pytest.raises(tool.ReleaseError, match=told):
        tool.check_contents(*small_release)


@pytest.mark.parametrize("name", ["tests/test_a.py", "sgovss/leftover.py", "research/x.py"])
def test_a_wheel_with_a_foreign_file_is_refused(
    tool: ModuleType, small_release: tuple[Path, Path, Path], name: str
) -> None:
    with zipfile.ZipFile(small_release[2], "a") as packed:
        packed.writestr(name, "")
    with pytest.raises(tool.ReleaseError, match=f"unexpected {name}"):
        tool.check_contents(*small_release)


def test_an_sdist_without_a_licence_is_refused(tool: ModuleType, small_release: tuple[Path, Path, Path]) -> None:
    source, sdist, wheel = small_release
    with tarfile.open(sdist, "w:gz") as archive:
        archive.add(source / "setup.py", "sgovss-1/setup.py")
    with pytest.raises(tool.ReleaseError, match=r"no CHANGELOG.md, no LICENSE, no MANIFEST.in \(\d+ in all\)"):
        tool.check_contents(source, sdist, wheel)


def test_an_sdist_depends_on_its_content_only(tool: ModuleType, tmp_path: Path) -> None:
    """Not on the order, times, owners and permissions of its files."""
    built = []
    for number, order in enumerate((("a", "b/c", "run"), ("run", "b/c", "a"))):
        path = tmp_path / "x.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for name in order:
                entry = tarfile.TarInfo(f"x/{name}")
                entry.size, entry.mtime, entry.uid, entry.uname = len(name), 7 + number, number, f"user{number}"
                entry.mode = (0o775 if name == "run" else 0o664) & ~(0o022 * number)
                archive.addfile(entry, io.BytesIO(name.encode()))
        tool.normalise(path, 1_700_000_000)
        built.append(path.read_bytes())
    assert built[0] == built[1]
    with tarfile.open(path) as archive:
        modes = {entry.name: (entry.mode, entry.mtime) for entry in archive}
        assert archive.extractfile("x/b/c").read() == b"b/c"
    assert modes == {name: (mode, 1_700_000_000) for name, mode in (("x/a", 0o644), ("x/b/c", 0o644), ("x/run", 0o755))}


def test_checksums_are_those_that_sha256sum_checks(tool: ModuleType, tmp_path: Path) -> None:
    files = [tmp_path / "b.whl", tmp_path / "a.tar.gz"]
    for file in files:
        file.write_text(file.name)
    path = tool.write_checksums(files)
    check = ["sha256sum", "--check", "--strict", path.name]
    assert subprocess.run(check, cwd=tmp_path, capture_output=True).returncode == 0
    files[0].write_text("changed")
    assert subprocess.run(check, cwd=tmp_path, capture_output=True).returncode == 1


def test_a_folder_with_files_is_kept(tool: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(tool.ReleaseError, match=r"not empty; remove it, or give another --output"):
        tool.release(tmp_path, tmp_path)
    assert (tmp_path / "mine").exists()


def failing(*_: object) -> None:
    raise RuntimeError("failed")


@pytest.mark.parametrize("step", ["export_commit", "build", "check_contents", "check_installed", "write_checksums", ""])
def test_a_release_that_fails_leaves_nothing(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def build(_: Path, folder: Path, epoch: int) -> list[Path]:
        files = [folder / "sgovss-1.tar.gz", folder / "sgovss-1-py3-none-any.whl"]
        for file in files:
            file.write_text(str(epoch))
        return files

    steps = {"export_commit": lambda *_: 7, "version_of": lambda _: "1", "build": build, "_run": lambda *_: ""}
    for name in (*steps, "check_contents", "check_installed", step):
        if name:
            monkeypatch.setattr(tool, name, failing if name == step else steps.get(name, lambda *_: None))
    output = tmp_path / "dist"
    if step:
        with pytest.raises(RuntimeError, match="failed"):
            tool.release(tmp_path, output)
        assert not output.exists()
    else:
        files = tool.release(tmp_path, output)
        assert sorted(output.iterdir()) == sorted(files) and len(files) == 3
