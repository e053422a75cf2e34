"""Create ``.venv`` with sgovss, all its extras and Detectron2. ``make setup`` runs this.

    python3 tools/setup_environment.py [--site-packages FOLDER[:FOLDER...]]

``--site-packages`` names folders with packages that are installed already (a torch, a Detectron2 or a clone of it).
Packages there that satisfy the requirements are used and not downloaded. The script also starts on older versions of
Python, to print that they are too old.
"""

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
DOWNLOADS = ENVIRONMENT / "downloads"
OWN_PACKAGES = "sgovss_own_packages.pth"
PIP = ["-m", "pip", "--disable-pip-version-check", "--no-input"]
HEARTBEAT = 30.0
"""Seconds between two lines that show that pip is still working."""

START = time.monotonic()


class SetupError(Exception):
    """A reason why the environment cannot be set up: one line with its remedy."""


def check_python() -> None:
    """Raise a SetupError if this Python is too old or cannot create environments."""
    version = "{}.{}".format(*sys.version_info[:2])
    if sys.version_info < (3, 10):  # noqa: UP036 - an older python3 may run this file
        raise SetupError(
            f"sgovss needs Python 3.10 or newer, this is {version}; name one: make setup PYTHON=python3.11"
        )
    if importlib.util.find_spec("ensurepip") is None:
        raise SetupError(
            f"{sys.executable} has no ensurepip, so it cannot make a virtual environment; "
            f"on Debian or Ubuntu: apt install python{version}-venv"
        )


def create_environment() -> Path:
    """Create ``.venv``, or complete the existing one; returns its interpreter."""
    python = ENVIRONMENT / "bin" / "python"
    if python.exists():
        version = _output(python, "import sys; print('{}.{}'.format(*sys.version_info))")
        if version != "{}.{}".format(*sys.version_info[:2]):
            raise SetupError(f"{ENVIRONMENT} holds Python {version}, not {sys.executable}'s; run make distclean first")
    if not python.exists() or _run(python, "-c", "import pip", quiet=True):
        phase("creating the environment")
        venv.create(ENVIRONMENT, with_pip=True)
    return python


def use_packages(python: Path, folders: str) -> None:
    """Add the packages in ``folders`` to the environment. Its own packages take precedence."""
    paths = [Path(folder).resolve() for folder in folders.split(os.pathsep)]
    for path in paths:
        if not any((path / package).is_dir() for package in ("torch", "detectron2")):
            raise SetupError(f"SITE_PACKAGES: no torch and no detectron2 in {path}; name the folder that holds them")
    site_packages = Path(_output(python, "import sysconfig; print(sysconfig.get_paths()['purelib'])"))
    own = site_packages / OWN_PACKAGES
    own.write_text("".join(f"{path}\n" for path in paths))
    if any((path / "torch").is_dir() for path in paths) and _run(python, "-c", "import torch", quiet=True):
        own.unlink()
        raise SetupError(f"SITE_PACKAGES: torch in {folders} cannot be imported by {python}; is it for another Python?")


def install(python: Path, has_torch: bool) -> None:
    """Install the checkout in editable mode, so that ``.venv`` always runs its code, with all requirements.

    Args:
        python: interpreter of the environment.
        has_torch: whether torch can be imported in the environment; then it is not downloaded.
    """
    size = "only those that are missing" if has_torch else "3.4 GB to download, 6.4 GB on disk"
    phase("updating pip")
    failed = _pip_install(python, "pip>=23.1")
    if not failed:
        phase(f"installing torch and the other requirements ({size})")
        failed = _pip_install(python, "-e", f"{ROOT}[all,wandb,mlflow]")
    if failed:
        raise SetupError("pip could not install the requirements; see its message above")


def install_detectron2(python: Path) -> None:
    """Install Detectron2, unless the environment has one. It needs OpenCV."""
    phase("installing Detectron2")
    if _run(python, "-m", "sgovss", "install-detectron2"):
        raise SetupError("no Detectron2; see above, or name one you have: make setup SITE_PACKAGES=/its/folder")


def ensure_opencv(python: Path) -> None:
    """Replace OpenCV by its headless version if the system lacks the libraries for its windows."""
    if not _run(python, "-c", "import cv2", quiet=True):
        return
    version = _output(python, "from importlib.metadata import version; print(version('opencv-python'))")
    phase(f"replacing opencv-python {version}, which cannot be imported (no libGL?), by its headless version")
    _run(python, *PIP, "--quiet", "uninstall", "--yes", "opencv-python")
    headless = f"opencv-python-headless=={version}"
    _run(python, *PIP, "--quiet", "install", "--no-deps", "--force-reinstall", headless)
    if _run(python, "-c", "import cv2"):
        raise SetupError(
            "OpenCV and its headless version cannot be imported (see above); on Debian or Ubuntu: apt install libgl1"
        )


def phase(text: str) -> None:
    """Print one line with the seconds since the start."""
    print(f"[{time.monotonic() - START:4.0f} s] {text} ...", flush=True)


def _pip_install(python: Path, *arguments: str) -> int:
    """Run ``pip install``; returns its exit status.

    On a terminal, pip prints its own progress. Otherwise pip is quiet, and a line every :data:`HEARTBEAT` seconds gives
    the size of the environment. pip's temporary files are then put into the environment, so that downloads count.
    """
    command = [str(python), *PIP, "install"]
    if sys.stdout.isatty() and "CI" not in os.environ:
        return subprocess.call([*command, *arguments])
    DOWNLOADS.mkdir(exist_ok=True)
    variables = dict(os.environ, TMPDIR=str(DOWNLOADS))
    process = subprocess.Popen([*command, "--quiet", "--progress-bar=off", *arguments], env=variables)
    try:
        while True:
            try:
                return process.wait(timeout=HEARTBEAT)
            except subprocess.TimeoutExpired:
                phase(f"pip is working: {_size(ENVIRONMENT) / 1e9:.1f} GB in {ENVIRONMENT}")
    finally:
        process.kill()
        shutil.rmtree(str(DOWNLOADS), ignore_errors=True)


def _size(folder: Path) -> int:
    """Return the bytes of all files in a folder. Files may be removed while they are counted."""
    total = 0
    for path, _, names in os.walk(str(folder)):
        for name in names:
            try:
                total += os.lstat(os.path.join(path, name)).st_size  # noqa: PTH118 - tens of thousands of files
            except OSError:
                continue
    return total


def _run(python: Path, *arguments: str, quiet: bool = False) -> int:
    return subprocess.run([str(python), *arguments], stderr=subprocess.DEVNULL if quiet else None).returncode


def _output(python: Path, code: str) -> str:
    return subprocess.run([str(python), "-c", code], stdout=subprocess.PIPE, check=True).stdout.decode().strip()


def main() -> int:
    """Set the environment up; returns the exit status."""
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--site-packages", default="", help="folders with a torch or Detectron2 to use")
    arguments = parser.parse_args()
    try:
        check_python()
        python = create_environment()
        if arguments.site_packages:
            use_packages(python, arguments.site_packages)
        install(python, has_torch=not _run(python, "-c", "import torch", quiet=True))
        ensure_opencv(python)
        install_detectron2(python)
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"[{time.monotonic() - START:4.0f} s] ready: {python}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
