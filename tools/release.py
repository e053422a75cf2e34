"""Build a release of the last commit, check it, and write its checksums. ``make release`` runs this.

    python tools/release.py [--output dist]

The folder then holds the wheel, the sdist and SHA256SUMS. Nothing is published; docs/release.md says how that is done.
Two builds of a commit are equal byte for byte with the same versions of Python, setuptools and zlib.
"""

import argparse
import gzip
import hashlib
import io
import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECKSUMS = "SHA256SUMS"
REUSED = ("torch", "detectron2", "open_clip", "numpy", "yaml")
"""Packages whose folders the environment of the check takes from this one, instead of downloading them."""


class ReleaseError(Exception):
    """A reason why there is no release: one line with its remedy."""


def export_commit(checkout: Path, folder: Path) -> int:
    """Copy the files of the last commit, and nothing else.

    Returns:
        the time of the commit in seconds since 1970, which all files of the release get.

    Raises:
        ReleaseError: the folder is no checkout, or files differ from the commit.
    """
    if _git(checkout, "status", "--porcelain"):
        raise ReleaseError(f"{checkout}: files differ from the last commit; commit them, or move them away")
    packed = folder.with_suffix(".tar")
    _git(checkout, "-c", "tar.umask=022", "archive", f"--output={packed}", "HEAD")
    _unpack(packed, folder)
    return int(_git(checkout, "log", "-1", "--format=%ct"))


def version_of(source: Path) -> str:
    """The version of the sources.

    Raises:
        ReleaseError: CHANGELOG.md has no section for it.
    """
    version: str = runpy.run_path(str(source / "sgovss" / "version.py"))["__version__"]
    changes = (source / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(rf"^## {re.escape(version)}(\s|$)", changes, re.MULTILINE):
        raise ReleaseError(f"CHANGELOG.md: no section '## {version}'; write it, or correct sgovss/version.py")
    return version


def build(source: Path, output: Path, epoch: int) -> list[Path]:
    """Build the sdist, and from it the wheel.

    Args:
        source: the files of a commit.
        output: an existing folder for the two files.
        epoch: time of all files in them, in seconds since 1970.

    Returns:
        the sdist and the wheel.

    Raises:
        ReleaseError: setuptools failed.
    """
    _build("--sdist", source, output, epoch)
    (sdist,) = output.glob("*.tar.gz")
    normalise(sdist, epoch)
    with tempfile.TemporaryDirectory() as unpacked:
        _unpack(sdist, Path(unpacked))
        _build("--wheel", Path(unpacked, sdist.name.removesuffix(".tar.gz")), output, epoch)
    (wheel,) = output.glob("*.whl")
    return [sdist, wheel]


def normalise(sdist: Path, epoch: int) -> None:
    """Write an sdist again so that it depends on nothing but its content: setuptools puts the time and the user in."""
    with tarfile.open(sdist) as archive:
        entries = [(entry, archive.extractfile(entry)) for entry in archive if entry.isfile()]
        contents = {entry.name: (entry, file.read()) for entry, file in entries if file}
    with gzip.GzipFile(sdist, "wb", mtime=epoch) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, (entry, content) in sorted(contents.items()):
            normal = tarfile.TarInfo(name)
            normal.size, normal.mtime, normal.mode = len(content), epoch, 0o755 if entry.mode & 0o100 else 0o644
            archive.addfile(normal, io.BytesIO(content))


def check_contents(source: Path, sdist: Path, wheel: Path) -> None:
    """Check that both files hold the package with its data and licences; the wheel, nothing else.

    Raises:
        ReleaseError: a file is missing or unexpected.
    """
    data = [*(source / "configs").rglob("*.yaml"), *(source / "datasets").rglob("*.yaml")]
    package = {path.relative_to(source).as_posix() for path in (source / "sgovss").rglob("*") if path.is_file()}
    own = package | {path.relative_to(source).as_posix() for path in data}
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    extra = {name for name in names if ".dist-info/" in name}
    _expect_equal(wheel, names - extra, {name if name in package else f"sgovss/{name}" for name in own})
    licences = {name.rpartition("/")[2] for name in extra if "/licenses/" in name}
    _expect_equal(wheel, licences, {"LICENSE", "NOTICE"})
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    needed = own | {"setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "CHANGELOG.md", "LICENSE", "NOTICE"}
    _expect_equal(sdist, packed & needed, needed)


def check_installed(wheel: Path, version: str) -> None:
    """Install the wheel in a fresh environment beside the packages of this one, and segment an image there.

    Raises:
        ReleaseError: a command fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        venv.create(Path(folder, "environment"), with_pip=False, symlinks=True)
        programs = Path(folder, "environment", "bin")
        pip = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "--quiet"]
        _run([*pip, "--disable-pip-version-check", "install", "--no-deps", str(wheel)], folder)
        _reuse_packages(Path(sysconfig.get_path("purelib", vars={"base": str(programs.parent)})))
        if _run([str(programs / "sgovss"), "--version"], folder).split() != ["sgovss", version]:
            raise ReleaseError(f"{wheel}: 'sgovss --version' does not print {version}")
        image = ["-m", "sgovss.synthetic", "--output", "drawn", "--count", "1", "--workers", "1", "--split", "an"]
        _run([str(programs / "python"), *image], folder)
        drawn = sorted(Path(folder, "drawn").rglob("*.png"))[0]
        words = ["--vocabulary", "building, road, tree|forest, water", "--output", "map"]
        tiny = ["--config-file", "sgovss_tiny.yaml", "--input", str(drawn)]
        _run([str(programs / "sgovss"), "segment", *tiny, *words, "--opts", "MODEL.DEVICE", "cpu"], folder)
        if not Path(folder, "map", f"{drawn.stem}_labels.png").is_file():
            raise ReleaseError(f"{wheel}: 'sgovss segment' wrote no labels")


def write_checksums(files: list[Path]) -> Path:
    """Write the digests of files of one folder beside them, as ``sha256sum --check`` reads them."""
    path = files[0].with_name(CHECKSUMS)
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(files)]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def release(checkout: Path, output: Path) -> list[Path]:
    """Build and check a release; returns its files."""
    if output.exists() and any(output.iterdir()):
        raise ReleaseError(f"{output}: not empty; remove it, or give another --output")
    with tempfile.TemporaryDirectory() as folder:
        source, built = Path(folder, "source"), Path(folder, "built")
        built.mkdir()
        epoch = export_commit(checkout, source)
        version = version_of(source)
        print(f"building sgovss {version} ...", flush=True)
        sdist, wheel = build(source, built, epoch)
        print("checking metadata, contents and an installation ...", flush=True)
        _run([sys.executable, "-m", "twine", "check", "--strict", str(sdist), str(wheel)], folder)
        check_contents(source, sdist, wheel)
        check_installed(wheel, version)
        files = [sdist, wheel, write_checksums([sdist, wheel])]
        output.mkdir(parents=True, exist_ok=True)  # not before: a release that fails leaves nothing
        return [Path(shutil.move(file, output)) for file in files]


def _build(kind: str, source: Path, output: Path, epoch: int) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", kind, "--outdir", str(output.resolve()), str(source)]
    _run(command, str(source), SOURCE_DATE_EPOCH=str(epoch))


def _reuse_packages(site_packages: Path) -> None:
    # .pth files in these folders are not read, so an editable installation of the checkout is not visible.
    origins = [spec.origin for name in REUSED if (spec := find_spec(name)) and spec.origin]
    folders = sorted({str(Path(origin).parents[1]) for origin in origins})
    (site_packages / "reused.pth").write_text("\n".join(folders), encoding="utf-8")


def _expect_equal(path: Path, found: set[str], expected: set[str]) -> None:
    differing = [f"no {name}" for name in sorted(expected - found)]
    differing += [f"unexpected {name}" for name in sorted(found - expected)]
    if differing:
        raise ReleaseError(f"{path}: {', '.join(differing[:3])} ({len(differing)} in all); see setup.py, MANIFEST.in")


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as content:
        content.extractall(folder, filter="data")


def _git(checkout: Path, *arguments: str) -> str:
    return _run(["git", "-C", str(checkout), *arguments], str(checkout)).strip()


def _run(command: list[str], folder: str, **variables: str) -> str:
    """Run a command without the checkout on its path; returns what it prints."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | variables
    done = subprocess.run(command, cwd=folder, env=environment, umask=0o022, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
        raise ReleaseError(f"{' '.join(command[:6])} ... failed: {last[0]}")
    return done.stdout


def main() -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default dist")
    arguments = parser.parse_args()
    try:
        files = release(ROOT, arguments.output)
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(*(f"{file} ({file.stat().st_size / 2**20:.1f} MB)" for file in files), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
