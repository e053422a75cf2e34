"""Install Detectron2 into the Python environment that runs this command, unless it has one already.

example:
  sgovss install-detectron2

Detectron2 has no wheel in the package registry for most Python versions, and its source needs a compiler. Semantic
segmentation uses only its Python code. This command therefore downloads a wheel built for CPython 3.10, pinned by its
hash, and removes the compiled extension detectron2._C and the unrelated top-level package 'tools'. The requirements of
Detectron2 are requirements of sgovss, so they are installed already.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sgovss.errors import InputError, command

REQUIREMENT = Path(__file__).resolve().parent.parent / "assets" / "detectron2.txt"
# The wheel is tagged cp310-none-any; these options make pip of any Python version accept it.
WHEEL_TAG = ["--python-version", "3.10", "--implementation", "cp", "--abi", "none", "--platform", "any"]


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``sgovss install-detectron2``; returns its exit status."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(argv)
    if importlib.util.find_spec("detectron2") is not None:
        found = describe_import()
        if found.returncode != 0:
            raise InputError(
                f"the installed Detectron2 cannot be imported ({_last_line(found)}); mend it, or remove it with "
                "'pip uninstall detectron2' and run this command again"
            )
        print(f"Detectron2 {found.stdout.strip()} is kept")
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        try:
            download(Path(scratch))
        except subprocess.CalledProcessError as error:
            raise InputError(
                "pip could not download Detectron2, see its message above; check the network, or install Detectron2 in "
                "another way"
            ) from error
        strip(Path(scratch))
        site_packages = Path(sysconfig.get_paths()["purelib"])
        try:
            move(Path(scratch), site_packages)
        except PermissionError as error:
            raise InputError(f"{site_packages}: cannot write there; use a virtual environment of your own") from error
    installed = describe_import()
    if installed.returncode != 0:
        raise InputError(
            f"Detectron2 was installed, but cannot be imported ({_last_line(installed)}); install what is missing"
        )
    print(f"Detectron2 {installed.stdout.strip()} is installed")
    return 0


def describe_import() -> subprocess.CompletedProcess[str]:
    """Import Detectron2 in a new process, which prints its version and folder."""
    code = "import detectron2, detectron2.config; print(detectron2.__version__, 'in', detectron2.__path__[0])"
    # Python imports modules from the working folder first, and anyone may write to the folder of temporary files.
    with tempfile.TemporaryDirectory() as empty:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=empty)


def download(target: Path) -> None:
    """Unpack the pinned wheel into ``target``.

    Raises:
        subprocess.CalledProcessError: pip failed, for example because the hash differs.
    """
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    wheel = ["--no-deps", "--only-binary=:all:", "--require-hashes", *WHEEL_TAG]
    subprocess.run([*pip, *wheel, "--target", str(target), "-r", str(REQUIREMENT)], check=True)


def strip(folder: Path) -> None:
    """Remove the extension ``_C``, which is built for another Python version, and the package ``tools``."""
    shutil.rmtree(folder / "tools", ignore_errors=True)
    for library in (folder / "detectron2").glob("_C.*"):
        library.unlink()


def move(folder: Path, site_packages: Path) -> None:
    """Move Detectron2 and its metadata, which hold the licence, into ``site_packages``."""
    for item in [*folder.glob("sal_detectron2-*.dist-info"), folder / "detectron2"]:
        shutil.move(str(item), str(site_packages / item.name))


def _last_line(process: subprocess.CompletedProcess[str]) -> str:
    return process.stderr.strip().splitlines()[-1]
