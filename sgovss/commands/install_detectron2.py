"""Put Detectron2 into the Python that runs this file, unless it has one already.

Detectron2 is published as source that wants a compiler, and in the registry as a wheel for CPython 3.10
alone. Semantic segmentation uses only its Python part, so this takes that wheel (version and hash in
detectron2.txt), drops the compiled ``_C`` and the stray top-level ``tools`` package, and keeps the rest.
Its dependencies are those of sgovss, so install that first.

    python tools/install_detectron2.py
"""

import importlib
import importlib.util
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

REQUIREMENT = Path(__file__).resolve().parent.parent / "assets" / "detectron2.txt"
# The wheel is tagged cp310-none-any, so this is what pip must be told to look for, on any Python.
WHEEL_TAG = ["--python-version", "3.10", "--implementation", "cp", "--abi", "none", "--platform", "any"]


def describe_import() -> subprocess.CompletedProcess:
    """Import Detectron2 in a fresh process, as the user will; prints its version and folder."""
    code = "import detectron2, detectron2.config; print(detectron2.__version__, 'in', detectron2.__path__[0])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tempfile.gettempdir())


def download(target: Path) -> None:
    """Unpack the pinned wheel into ``target``; pip refuses it when the hash differs."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    wheel = ["--no-deps", "--only-binary=:all:", "--require-hashes", *WHEEL_TAG]
    subprocess.run([*pip, *wheel, "--target", str(target), "-r", str(REQUIREMENT)], check=True)


def strip(folder: Path) -> None:
    """Remove what must not reach site-packages: ``_C`` built for another Python, and ``tools``."""
    shutil.rmtree(folder / "tools", ignore_errors=True)
    for library in (folder / "detectron2").glob("_C.*"):
        library.unlink()


def move(folder: Path, site_packages: Path) -> None:
    """Move Detectron2 and its metadata (with the licence) into ``site_packages``."""
    for item in [*folder.glob("sal_detectron2-*.dist-info"), folder / "detectron2"]:
        shutil.move(str(item), str(site_packages / item.name))


def main() -> int:
    if importlib.util.find_spec("detectron2") is not None:
        found = describe_import()
        if found.returncode != 0:
            reason = found.stderr.strip().splitlines()[-1]
            print(f"error: the Detectron2 that is here cannot be imported ({reason}); mend or remove it")
            return 1
        print(f"Detectron2 {found.stdout.strip()} is kept")
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        try:
            download(Path(scratch))
        except subprocess.CalledProcessError:
            print("error: pip did not bring Detectron2; its reason stands above")
            return 1
        strip(Path(scratch))
        move(Path(scratch), Path(sysconfig.get_paths()["purelib"]))
    installed = describe_import()
    if installed.returncode != 0:
        print(f"error: Detectron2 was installed but not imported ({installed.stderr.strip().splitlines()[-1]})")
        return 1
    print(f"Detectron2 {installed.stdout.strip()} is installed")
    return 0
