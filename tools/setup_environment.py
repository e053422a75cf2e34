"""Create ``.venv`` with sgovss, all its extras and Detectron2. ``make setup`` runs this.

    python3 tools/setup_environment.py [--site-packages FOLDER[:FOLDER...]]

``--site-packages`` names folders with packages you have already (a torch, a Detectron2 or its checkout):
whatever there satisfies the requirements is used and not downloaded. Runs on old Pythons too, to say so.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
OWN_PACKAGES = "sgovss_own_packages.pth"


class SetupError(Exception):
    """What stops the set-up, in one line with its remedy."""


def check_python() -> None:
    version = "{}.{}".format(*sys.version_info[:2])
    if sys.version_info < (3, 10):  # noqa: UP036 - whatever python3 is starts this file
        raise SetupError(
            f"sgovss needs Python 3.10 or newer, this is {version}; name one: make setup PYTHON=python3.11"
        )
    if importlib.util.find_spec("ensurepip") is None:
        raise SetupError(
            f"{sys.executable} has no ensurepip, so it cannot make a virtual environment; "
            f"on Debian or Ubuntu: apt install python{version}-venv"
        )


def create_environment() -> Path:
    """Make ``.venv``, or complete the one there is; returns its interpreter."""
    python = ENVIRONMENT / "bin" / "python"
    if python.exists():
        version = _output(python, "import sys; print('{}.{}'.format(*sys.version_info))")
        if version != "{}.{}".format(*sys.version_info[:2]):
            raise SetupError(f"{ENVIRONMENT} holds Python {version}, not {sys.executable}'s; run make distclean first")
    if not python.exists() or _run(python, "-c", "import pip", quiet=True):
        venv.create(ENVIRONMENT, with_pip=True)
    return python


def use_packages(python: Path, folders: str) -> None:
    """Let the environment see the packages in ``folders``, after its own."""
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


def install(python: Path) -> None:
    """Install the checkout itself (editable), so that ``.venv`` always runs the code in it."""
    chatter = [] if sys.stdout.isatty() and "CI" not in os.environ else ["--quiet", "--progress-bar=off"]
    pip = ["-m", "pip", "--disable-pip-version-check", "--no-input", "install", *chatter]
    failed = _run(python, *pip, "pip>=23.1") or _run(python, *pip, "-e", f"{ROOT}[all]")
    if failed:
        raise SetupError("pip could not install the requirements; its reason stands above")


def install_detectron2(python: Path) -> None:
    """Put Detectron2 in, unless the environment sees one already. It imports OpenCV."""
    if _run(python, str(ROOT / "tools" / "install_detectron2.py")):
        raise SetupError("no Detectron2; see above, or name one you have: make setup SITE_PACKAGES=/its/folder")


def ensure_opencv(python: Path) -> None:
    """Swap OpenCV for its headless twin where the system lacks the libraries of its windows."""
    if not _run(python, "-c", "import cv2", quiet=True):
        return
    version = _output(python, "from importlib.metadata import version; print(version('opencv-python'))")
    print(f"opencv-python {version} cannot be imported (is libGL missing?): trying the headless one", flush=True)
    pip = ["-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet"]
    _run(python, *pip, "uninstall", "--yes", "opencv-python")
    _run(python, *pip, "install", "--no-deps", "--force-reinstall", f"opencv-python-headless=={version}")
    if _run(python, "-c", "import cv2"):
        raise SetupError("neither OpenCV can be imported (reason above); on Debian or Ubuntu: apt install libgl1")


def _run(python: Path, *arguments: str, quiet: bool = False) -> int:
    return subprocess.run([str(python), *arguments], stderr=subprocess.DEVNULL if quiet else None).returncode


def _output(python: Path, code: str) -> str:
    return subprocess.run([str(python), "-c", code], stdout=subprocess.PIPE, check=True).stdout.decode().strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--site-packages", default="", help="folders with a torch or Detectron2 to use")
    arguments = parser.parse_args()
    try:
        check_python()
        python = create_environment()
        if arguments.site_packages:
            use_packages(python, arguments.site_packages)
        size = "3.4 GB to download, 6.4 GB on disk, unless SITE_PACKAGES names a torch"
        print(f"Installing into {ENVIRONMENT} ({size})", flush=True)
        install(python)
        ensure_opencv(python)
        install_detectron2(python)
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"Ready: {python}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
