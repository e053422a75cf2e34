"""The commands of an installed wheel, run as processes in a folder that is not the checkout."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
import venv
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image

from sgovss.synthetic import generate_image

pytestmark = pytest.mark.slow

TRAINING = {
    "DATASETS.SPECIFICATIONS": "('few_scenes.yaml',)",
    "DATASETS.TRAIN": "('few_scenes_train',)",
    "DATASETS.TEST": "('few_scenes_test',)",
    "MODEL.DEVICE": "cpu",
    "INPUT.MIN_SIZE_TRAIN": "(64,)",
    "INPUT.CROP.SIZE": "[64,64]",
    "SOLVER.IMS_PER_BATCH": "2",
    "SOLVER.MAX_ITER": "2",
}


class Installation:
    """A virtual environment with the wheel in it.

    Args:
        wheel: the file to install, without its requirements.
        folder: a new folder for the environment; its subfolder ``work`` is where commands run.
    """

    def __init__(self, wheel: Path, folder: Path) -> None:
        self.work = folder / "work"
        self.work.mkdir()
        venv.create(folder / "environment", with_pip=False, symlinks=True)
        self.programs = folder / "environment" / "bin"
        pip = [sys.executable, "-m", "pip", "--python", self.programs / "python", "--quiet"]
        subprocess.run([*pip, "--disable-pip-version-check", "install", "--no-deps", wheel], check=True)
        code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
        self.site_packages = Path(self.run("python", "-c", code).stdout.strip())

    def reuse(self, *packages: str) -> None:
        """Make the folders that hold these packages of the present environment visible, for all that they hold."""
        folders = {str(Path(import_module(package).__file__).parents[1]) for package in packages}
        # The .pth files in these folders are not read, so an editable installation of the checkout is not visible.
        (self.site_packages / "reused.pth").write_text("\n".join(sorted(folders)))

    def run(self, program: str, *arguments: object, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment to its end and expect an exit status."""
        done = subprocess.run(
            [self.programs / program, *map(str, arguments)],
            cwd=self.work,
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == status, f"{done.stdout[-1000:]}\n{done.stderr[-2000:]}"
        return done

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables that do not lead to the checkout."""
        return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The wheel beside the packages that are here already."""
    installation = Installation(wheel, tmp_path_factory.mktemp("installed"))
    installation.reuse("torch", "detectron2", "open_clip", "numpy", "yaml")
    found = installation.run("python", "-c", "import sgovss; print(sgovss.__file__)").stdout.strip()
    assert Path(found) == installation.site_packages / "sgovss" / "__init__.py"
    return installation


def test_without_requirements_there_is_help_and_a_remedy(wheel: Path, tmp_path: Path) -> None:
    installation = Installation(wheel, tmp_path)
    assert "install-detectron2" in installation.run("sgovss", "--help").stdout
    assert "sgovss install-detectron2" in installation.run("sgovss", "install-detectron2", "--help").stdout
    done = installation.run("sgovss", "segment", "--input", "photo.jpg", status=2)
    assert (done.stdout, done.stderr) == ("", "error: Detectron2 is not installed; run 'sgovss install-detectron2'\n")


def test_version_and_install_detectron2(installed: Installation) -> None:
    detectron2 = import_module("detectron2")
    assert f"Detectron2 {detectron2.__version__}\n" in installed.run("sgovss", "version").stdout
    kept = f"Detectron2 {detectron2.__version__} in {Path(detectron2.__file__).parent} is kept\n"
    assert installed.run("sgovss", "install-detectron2").stdout == kept


def test_segment(installed: Installation) -> None:
    Image.fromarray(generate_image(7, size=96, style="b").image).save(installed.work / "photo.png")
    options = ["--config-file", "sgovss_tiny.yaml", "--input", "photo.png", "--vocabulary", "road, tree|forest, water"]
    installed.run("sgovss", "segment", *options, "--output", "segmented", "--opts", "MODEL.DEVICE", "cpu")
    labels = np.asarray(Image.open(installed.work / "segmented" / "photo_labels.png"))
    assert labels.shape == (96, 96) and set(np.unique(labels)) <= {0, 1, 2}
    assert (installed.work / "segmented" / "report.html").is_file()


def test_train_and_export(installed: Installation) -> None:
    """Two steps on a few small synthetic images, then the trained model as an ONNX file."""
    packed = installed.site_packages / "sgovss" / "datasets" / "generated_scenes.yaml"
    content = yaml.safe_load(packed.read_text(encoding="utf-8")) | {"name": "few_scenes"}
    for name, part in content["splits"].items():
        part["count"] = 2
        content["generator"]["splits"][name][1] = 2
    content["generator"]["size"] = 64
    (installed.work / "few_scenes.yaml").write_text(yaml.safe_dump(content))
    options = [part for pair in TRAINING.items() for part in pair]
    installed.run("sgovss", "train", "--config-file", "sgovss_tiny.yaml", *options, "OUTPUT_DIR", "trained")
    scores = json.loads((installed.work / "trained" / "evaluation" / "few_scenes_test.json").read_text())
    assert scores["images"] == 2

    pytest.importorskip("onnxruntime", reason="needs the extra 'onnx', and Python 3.11")
    options = ["--config-file", "sgovss_tiny.yaml", "--output", "model.onnx", "--size", "64"]
    weights = ["--opts", "MODEL.WEIGHTS", "trained/model_inference.pth"]
    assert "scores differ from the model's by" in installed.run("sgovss", "export", *options, *weights).stdout
    assert (installed.work / "model.onnx").stat().st_size > 10**6


def test_prepare_and_check(
    installed: Installation, published: SimpleNamespace, write_published: Callable[..., Path], tmp_path: Path
) -> None:
    file = write_published()
    options = ["--root", tmp_path / "root", "--workers", "1"]
    prepared = installed.run("sgovss", "prepare", file, "--source", published.source, *options).stdout
    assert "published pairs: 4 done, 4 in the source" in prepared
    assert installed.run("sgovss", "check", file, *options).stdout.endswith("shore: no problem found\n")


def test_convert(installed: Installation) -> None:
    assert "RemoteCLIP-ViT-B-32.pt: ViT-B-32, quick_gelu" in installed.run("sgovss", "convert", "--list").stdout


def test_app(installed: Installation) -> None:
    pytest.importorskip("flask", reason="needs the extra 'app'")
    command = [installed.programs / "sgovss", "app", "--config-file", "sgovss_tiny.yaml", "--port", "0"]
    server = subprocess.Popen(
        [*command, "--opts", "MODEL.DEVICE", "cpu"],
        cwd=installed.work,
        env=installed.variables,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        address = next(found for line in server.stdout if (found := re.match(r"http://127\.0\.0\.1:\d+", line))).group()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(address, timeout=60) as answer:
            assert b"<!doctype html>" in answer.read().lower()
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=60) == 0
    finally:
        server.kill()
        server.wait()
