"""What the commands import. Importing takes most of the time of a short run, so a library must not slip in unseen."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from sgovss.config import load_config
from sgovss.modeling.clip_models import load_clip
from sgovss.modeling.text_embedder import TextEmbedder
from sgovss.synthetic import generate_image
from sgovss.vocabulary import Vocabulary

HEAVY = {
    "torch", "torchvision", "torch._dynamo", "timm", "open_clip", "transformers", "huggingface_hub", "scipy", "pandas",
    "geopandas", "xarray", "sklearn", "matplotlib", "tensorboard", "detectron2.engine", "detectron2.evaluation",
    "detectron2.modeling",
    "detectron2.data", "pycocotools", "rasterio", "pyproj", "pyogrio", "shapely", "flask", "onnx", "onnxruntime",
    "sgovss.engine", "sgovss.evaluation", "sgovss.export",
}  # fmt: skip
"""Packages and modules that take long to import, or that belong to other tasks."""

RASTERS = {"rasterio", "pyproj", "pyogrio", "shapely"}

_CODE = """
import atexit, sys
atexit.register(lambda: print("IMPORTED", *sys.modules))
sys.argv[0] = "sgovss"
from sgovss.__main__ import main
sys.exit(main())
"""

Imports = Callable[..., set[str]]


@pytest.fixture
def imports(tmp_path: Path) -> Imports:
    """Run a command in a process of its own; returns which of :data:`HEAVY` it imported."""

    def run(*arguments: str | Path, status: int = 0) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _CODE, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1", "SGOVSS_CACHE": str(tmp_path / "cache")},
        )
        assert done.returncode == status, done.stderr[-2000:]
        *_, names = done.stdout.partition("IMPORTED ")
        return HEAVY & set(names.split())

    return run


@pytest.mark.parametrize("arguments", [["--help"], ["nothing"]])
def test_help_imports_nothing(imports, arguments):
    assert imports(*arguments, status=2 if arguments == ["nothing"] else 0) == set()


@pytest.mark.parametrize("arguments", [["install-detectron2", "--help"]])
def test_small_commands_import_no_library(imports, arguments):
    assert imports(*arguments) <= {"torch"}


@pytest.mark.slow
def test_help_of_segment_needs_nothing_of_a_model(imports):
    assert imports("segment", "--help") == {"torch"}


@pytest.mark.slow
def test_training_needs_neither_rasters_nor_text_encoders(imports):
    found = imports("train", "--help")
    others = {"open_clip", "transformers", "matplotlib", "flask", "onnx", "onnxruntime", "sgovss.export"}
    assert not found & (RASTERS | others)


@pytest.fixture
def command(tmp_path, monkeypatch):
    """A command that segments the file of a name, and whose words are kept."""
    monkeypatch.setenv("SGOVSS_CACHE", str(tmp_path / "cache"))
    cfg = load_config("sgovss_tiny.yaml")
    clip = cfg.MODEL.CLIP
    TextEmbedder(cfg, load_clip(clip.NAME, clip.WEIGHTS, clip.ACTIVATION))(Vocabulary.from_string("road, water"))

    def build(name: str) -> list[str | Path]:
        Image.fromarray(generate_image(1, size=64, style="b").image).save(tmp_path / name)
        return ["segment", "--config-file", "sgovss_tiny.yaml", "--input", tmp_path / name, "--output",
                tmp_path / "out", "--vocabulary", "road, water"]  # fmt: skip

    return build


def test_a_photograph_needs_pytorch_alone(imports, command, tmp_path):
    # GDAL decides whether the file is a scene.
    assert {"torch"} <= imports(*command("photo.png")) <= {"torch"} | RASTERS
    with Image.open(tmp_path / "out" / "photo_labels.png") as labels:
        assert labels.size == (64, 64)


@pytest.mark.slow
def test_a_raster_also_needs_the_libraries_for_rasters(imports, command):
    pytest.importorskip("rasterio")
    found = imports(*command("scene.tif"))
    assert {"torch", "rasterio"} <= found <= {"torch"} | RASTERS


@pytest.mark.slow
def test_other_words_and_words_that_are_not_kept_need_no_further_library(imports, command):
    kept = command("photo.png")
    for arguments in ([*kept[:-1], "road, meadow"], [*kept, "--opts", "MODEL.CLIP.KEEP_TEXT", "False"]):
        assert {"torch"} <= imports(*arguments) <= {"torch"} | RASTERS
