"""Files for the plugin Deepness: the settings that it reads, and its labels, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

import sgovss
from sgovss.errors import InputError
from sgovss.export import deepness
from sgovss.export.deepness import FixedWords, check_tiles, expect_same_scores, plugin_metadata, trace_words
from sgovss.export.image_path import TOLERANCE
from sgovss.synthetic import generate_image
from sgovss.vocabulary import ClassEntry, Vocabulary

WORDS = "building|house, road, tree|forest|wood, water"
VOCABULARIES = ["building, road", WORDS, ", ".join(f"thing {index}|other {index}" for index in range(20))]
SIZE = 128

# What the plugin does with a batch of tiles, in a process that has its version of onnxruntime first in its path.
PLUGIN = """
import json, sys
if sys.argv[1]:
    sys.path.insert(0, sys.argv[1])
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[2], providers=["CPUExecutionProvider"])
meta = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
[tensor], [output] = session.get_inputs(), session.get_outputs()
tiles = np.float32(np.load(sys.argv[3]) / 255)
tiles = ((tiles - meta["standardization_mean"]) / meta["standardization_std"]).astype(np.float32)
batch = tiles.transpose(0, 3, 1, 2)
scores = np.concatenate([session.run(None, {tensor.name: tile[None]})[0] for tile in batch])
scores[scores < meta["seg_thresh"]] = 0
np.save(sys.argv[4], scores.argmax(axis=1))
print(json.dumps([onnxruntime.__version__, meta, tensor.shape[1:], output.shape[1:]]))
"""


@pytest.mark.parametrize("words", VOCABULARIES)
@torch.no_grad()
def test_fixed_words_give_the_scores_of_the_model(predictor: sgovss.Predictor, words: str):
    vocabulary = Vocabulary.from_string(words)
    images = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(2)).float()
    expected = predictor.model.scores(images, vocabulary)
    assert (FixedWords(predictor.model, vocabulary)(images / 255) - expected).abs().max() < 1e-5


def test_offsets_are_a_part_of_fixed_words(predictor: sgovss.Predictor):
    vocabulary = Vocabulary([ClassEntry("road", offset=0.5), ClassEntry("tree", ("forest",), offset=-1.0)])
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found, expected = (
            FixedWords(predictor.model, vocabulary)(images),
            predictor.model.scores(255 * images, vocabulary),
        )
        plain = predictor.model.scores(255 * images, Vocabulary.of("road, tree|forest"))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(expected.logit()[:, 1], plain.logit()[:, 1] - 1, atol=1e-4, rtol=0)


def test_the_settings_of_the_plugin():
    metadata = plugin_metadata(Vocabulary.from_string("tree|wood, road, Straße"), 512, 25, 30.0)
    content = {key: json.loads(text) for key, text in metadata.items()}
    assert content == {
        "model_type": "Segmentor",
        "class_names": {"0": "tree", "1": "road", "2": "Straße"},
        "resolution": 30.0,
        "tile_size": 512,
        "tiles_overlap": 25,
        "standardization_mean": [0.0, 0.0, 0.0],
        "standardization_std": [1.0, 1.0, 1.0],
        "seg_thresh": 0.0,
        "seg_small_segment": 0,
    }


@pytest.mark.parametrize(
    ("words", "size", "overlap", "resolution", "message"),
    [
        ("building", 512, 25, 30, "--words: the plugin needs two classes or more"),
        (WORDS, 500, 25, 30, "--size 500: give a multiple of 32, the image encoder's stride, such as 512"),
        (WORDS, 0, 25, 30, "--size 0: give a multiple of 32, the image encoder's stride, such as 32"),
        (WORDS, 512, 100, 30, "--overlap 100: give the overlap of tiles in percent, 0 to 99"),
        (WORDS, 512, -1, 30, "--overlap -1"),
        (WORDS, 512, 25, 0, "--gsd: the plugin needs the ground sample distance"),
        (WORDS, 512, 25, float("nan"), "--gsd: the plugin needs the ground sample distance"),
    ],
)
def test_settings_that_the_plugin_could_not_use(predictor, words, size, overlap, resolution, message):
    with pytest.raises(InputError, match=message):
        check_tiles(predictor.model, Vocabulary.from_string(words), size, overlap, resolution)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "deepness"], "--words: --format deepness needs the classes"),
        (["--format", "deepness", "--words", "a, a"], "'a' stands twice"),
        (["--words", WORDS], "--words belongs to --format deepness"),
        (["--gsd", "0.3"], "--gsd belongs to --format deepness"),
        (["--overlap", "0"], "--overlap belongs to --format deepness"),
    ],
)
def test_options_that_do_not_fit_together(arguments, message, capsys):
    main = import_module("sgovss.commands.export").main
    assert main(["--config-file", "sgovss_tiny.yaml", "--output", "model.onnx", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.fixture(scope="module")
def exported(predictor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model with four classes, written as the command does."""
    pytest.importorskip("onnxruntime", reason="needs the extra 'onnx', and Python 3.11")
    path = tmp_path_factory.mktemp("deepness") / "model.onnx"
    export = import_module("sgovss.commands.export")
    export.export_deepness(predictor, Vocabulary.from_string(WORDS), path, SIZE, gsd=0.25)
    return path


@pytest.mark.slow
def test_the_file_is_one_that_the_plugin_reads(exported: Path):
    onnx = pytest.importorskip("onnx", reason="needs the extra 'onnx'")
    model = onnx.load(exported)
    assert model.ir_version <= 9
    assert [(each.domain, each.version <= 18) for each in model.opset_import] == [("", True)]
    onnx.checker.check_model(model)
    assert [file.name for file in exported.parent.iterdir()] == ["model.onnx"]


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["installed", "1.17"])
def test_the_plugin_gets_the_labels_of_the_package(exported: Path, predictor, runtime: str, tmp_path: Path):
    folder = "" if runtime == "installed" else os.environ.get("SGOVSS_ONNXRUNTIME_1_17", "")
    if runtime == "1.17" and not folder:
        pytest.skip("pip install --target DIR 'onnxruntime==1.17.*' 'numpy<2'; set SGOVSS_ONNXRUNTIME_1_17=DIR")
    tiles = [generate_image(seed, size=SIZE, style="b").image for seed in (3, 4, 5)]
    np.save(tmp_path / "tiles.npy", tiles)
    files = [str(path) for path in (exported, tmp_path / "tiles.npy", tmp_path / "labels.npy")]
    result = subprocess.run(
        [sys.executable, "-c", PLUGIN, folder, *files], capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    version, metadata, tensor, output = json.loads(result.stdout)
    assert runtime == "installed" or version.startswith("1.17.")
    assert (metadata["resolution"], metadata["tile_size"], metadata["tiles_overlap"]) == (25, SIZE, 25)
    assert (tensor, output) == ([3, SIZE, SIZE], [4, SIZE, SIZE])
    expected = np.stack([predictor(tile, WORDS).labels for tile in tiles])
    assert len(np.unique(expected)) > 1
    assert (np.load(tmp_path / "labels.npy") == expected).mean() >= 0.99


@pytest.mark.slow
def test_every_kind_of_image_encoder(model, tmp_path: Path):
    pytest.importorskip("onnxruntime", reason="needs the extra 'onnx', and Python 3.11")
    vocabulary = Vocabulary.from_string(WORDS)
    path = tmp_path / "model.onnx"
    deepness.write_deepness(trace_words(model, vocabulary, 64), plugin_metadata(vocabulary, 64, 0, 30), path)
    assert expect_same_scores(model, vocabulary, path, 64, "model.onnx") < TOLERANCE / 10
    with pytest.raises(InputError, match="scores differ from the model's"):
        expect_same_scores(model, Vocabulary.from_string("ship, car, road, runway"), path, 64, "model.onnx")
