"""sgovss.segment: what it takes, what it gives, and what it says of wrong arguments."""

from __future__ import annotations

import gc
import io
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

import sgovss
from sgovss.errors import InputError
from sgovss.inference.rejection import Rejection
from sgovss.mapping.segmenter import ImageSegmenter
from sgovss.rasters.options import SceneOptions
from sgovss.rasters.scene import SceneMapper
from sgovss.vocabulary import Vocabulary
from tests.mapping.conftest import PIXELS, UTM, WORDS


def test_what_segments_an_image(predictor, photo, write_scene):
    """Photographs go through the engine for scenes where only it has what is asked for."""

    def is_scene(name: Path, options: SceneOptions | None) -> bool:
        words = Vocabulary.from_string(WORDS)
        return ImageSegmenter(predictor, words, Rejection(), options).is_scene(str(name))

    scene, plain = write_scene(), SceneOptions()
    assert is_scene(scene, plain) and not is_scene(photo, plain)
    assert is_scene(photo, SceneOptions(edges=True)) and is_scene(photo, SceneOptions(segments=scene))
    assert not is_scene(scene, None)


def test_pictures_in_every_form_give_what_the_predictor_gives(predictor, photo):
    expected = predictor(PIXELS, WORDS)
    forms = {"photo": (photo, str(photo), Image.open(photo)), "image": (PIXELS, Image.fromarray(PIXELS))}
    for name, source in [(name, source) for name, sources in forms.items() for source in sources]:
        result = sgovss.segment(source, WORDS, predictor=predictor)
        assert isinstance(result, sgovss.Segmentation)
        assert np.array_equal(result.labels, expected.labels)
        assert result.shares == expected.shares and result.areas is None
        assert result.classes == ["house roof", "asphalt", "meadow", "lake", "sand"]
        assert {kind: file.parent for kind, file in result.files.items()} == dict.fromkeys(
            ("labels", "shares", "overlay"), result.folder
        )
        assert result.files["labels"].name == f"{name}_labels.png"


def test_an_onnx_file_is_read_before_anything_is_written(photo, tmp_path):
    (tmp_path / "damaged.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match=r"damaged\.onnx"):
        sgovss.segment(photo, WORDS, tmp_path / "out", onnx=tmp_path / "damaged.onnx")
    assert not (tmp_path / "out").exists()


def test_words_in_every_form(predictor):
    expected = sgovss.segment(PIXELS, "house roof|roof, sand", predictor=predictor).labels
    listed = ["house roof|roof", "sand"]
    for words in (listed, tuple(listed), sgovss.Vocabulary.parse("house roof|roof, sand")):
        assert np.array_equal(sgovss.segment(PIXELS, words, predictor=predictor).labels, expected)


def test_a_raster_gives_what_the_scene_engine_gives(predictor, write_scene, tmp_path):
    expected = SceneMapper(predictor, WORDS, SceneOptions(confidence=True))(
        write_scene(), tmp_path / "engine" / "scene"
    )
    result = sgovss.segment(tmp_path / "scene.tif", WORDS, tmp_path / "out", predictor=predictor, confidence=True)
    assert np.array_equal(result.labels, expected.labels) and np.array_equal(result.scores, expected.scores)
    assert result.areas == expected.areas and result.georeference == expected.georeference
    assert result.folder == tmp_path / "out"
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["images"] == [str(tmp_path / "scene.tif")] and run["failed"] == []
    assert run["words"] == WORDS and run["model"] and run["command"]
    assert (tmp_path / "out" / "report.html").is_file()


def test_the_command_gives_the_same_files(predictor, photo, write_scene, tmp_path, monkeypatch):
    monkeypatch.setattr("sgovss.mapping.segmenter.Predictor", lambda *_, **__: predictor)
    write_scene()
    for name in ("photo.png", "scene.tif"):
        sgovss.segment(tmp_path / name, WORDS, tmp_path / "call", min_area="20px", threshold=0.02)
        argv = ["--input", tmp_path / name, "--vocabulary", WORDS]
        argv += ["--output", tmp_path / "command", "--min-area", "20px", "--threshold", "0.02"]
        assert import_module("sgovss.commands.segment").main(list(map(str, argv))) == 0
    files = [{path.name for path in (tmp_path / each).iterdir()} for each in ("call", "command")]
    assert files[0] == files[1]
    for name in ("photo_labels.png", "scene_labels.tif", "photo_overlay.png"):
        assert (tmp_path / "call" / name).read_bytes() == (tmp_path / "command" / name).read_bytes()


def test_without_any_argument_the_embedded_model_is_loaded(photo, monkeypatch):
    def build(config, options, precision):
        raise InputError(f"{config} {options} {precision}")

    monkeypatch.setattr("sgovss.mapping.segmenter.Predictor", build)
    with pytest.raises(InputError, match=r"sgovss_tiny\.yaml \(\) auto"):
        sgovss.segment(photo, WORDS)
    with pytest.raises(InputError, match=r"sgovss_tiny\.yaml \('SEED', '3', 'TEST\.VIEWS', \"\['turns'\]\"\) float32"):
        sgovss.segment(photo, WORDS, opts={"SEED": 3}, quality="good", precision="float32")


def test_tiles_are_joined(predictor, write_scene, tmp_path):
    whole = sgovss.segment(write_scene(), WORDS, predictor=predictor)
    right = UTM["transform"] @ rasterio.Affine.translation(60, 0)
    tiles = [
        write_scene(PIXELS[:, :60], "tiles/a.tif"),
        write_scene(PIXELS[:, 60:], "tiles/b.tif", transform=right),
    ]
    for source in (tiles, list(map(str, tiles)), tmp_path / "tiles"):
        joined = sgovss.segment(source, WORDS, predictor=predictor, mosaic=True)
        assert np.array_equal(joined.labels, whole.labels) and joined.areas == pytest.approx(whole.areas)


def test_several_images_are_a_dict(predictor, photo, write_scene, tmp_path, caplog, capsys):
    write_scene()
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    for source in (tmp_path, [photo, tmp_path / "scene.tif", tmp_path / "broken.jpg"]):
        results = sgovss.segment(source, WORDS, predictor=predictor)
        assert set(results) == {str(photo), str(tmp_path / "scene.tif")}
        assert "broken.jpg: cannot read this image" in caplog.text
        single = sgovss.segment(photo, WORDS, predictor=predictor)
        found = results[str(photo)]
        assert np.array_equal(found.labels, single.labels) and found.overlay().shape == single.overlay().shape
        folder = found.folder
        del results
        gc.collect()
        assert folder.is_dir()  # held by the result that is left
        del found
        gc.collect()
        assert not folder.exists()
    assert "3/3" in capsys.readouterr().err  # images done
    sgovss.segment([photo], WORDS, predictor=predictor)
    assert "1/1" not in capsys.readouterr().err
    with pytest.raises(InputError, match=r"all 1 images failed; the first: .*broken\.jpg"):
        sgovss.segment([tmp_path / "broken.jpg"], WORDS, predictor=predictor)


def test_a_temporary_folder_lives_as_long_as_the_result(predictor, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = sgovss.segment(PIXELS, WORDS, predictor=predictor)
    assert result.folder.parent == tmp_path and result.save(tmp_path / "kept")["labels"].is_file()
    result.close()
    assert not list(tmp_path.glob("sgovss-*"))
    uses = (result.to_xarray, result.to_geodataframe, result.plot, result.overlay, lambda: result.save(tmp_path / "no"))
    for use in (*uses, lambda: result.labels, lambda: result.scores):
        with pytest.raises(InputError, match="the result is closed and its products are removed"):
            use()
    with sgovss.segment(PIXELS, WORDS, predictor=predictor) as result:
        assert len(list(tmp_path.glob("sgovss-*"))) == 1
    assert not list(tmp_path.glob("sgovss-*"))
    with pytest.raises(InputError):
        sgovss.segment("none.jpg", WORDS, predictor=predictor)
    assert not list(tmp_path.glob("sgovss-*"))
    with sgovss.segment(PIXELS, WORDS, tmp_path / "own", predictor=predictor) as result:
        pass
    assert result.files["labels"].is_file() and result.labels.shape == (90, 120)


def test_a_closed_result_of_a_raster_is_one_line(predictor, write_scene, tmp_path):
    result = sgovss.segment(write_scene(), WORDS, predictor=predictor, confidence=True)
    result.close()
    for use in (lambda: result.scores, result.overlay, result.picture, lambda: result.save(tmp_path / "no")):
        with pytest.raises(InputError, match="the result is closed and its products are removed"):
            use()
    assert not (tmp_path / "no").exists()


def test_a_share_that_fails_is_an_error(predictor, write_scene, tmp_path):
    good, bad = write_scene(), tmp_path / "bad.tif"
    bad.write_bytes(b"II*\0rubbish")
    assert sgovss.segment(good, WORDS, tmp_path / "a", predictor=predictor, share="1/1") is None
    for source in (bad, [good, bad]):
        with pytest.raises(InputError, match="parts of some rasters were not filled"):
            sgovss.segment(source, WORDS, tmp_path / "b", predictor=predictor, share="1/1")


def test_an_earlier_run_on_the_same_array_is_continued(predictor, tmp_path):
    """The finished map is kept; another array under the same name is segmented."""
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("rioxarray")

    def labels(pixels: np.ndarray) -> tuple[int, np.ndarray]:
        array = xarray.DataArray(pixels.transpose(2, 0, 1), dims=("band", "y", "x")).rio.write_crs("EPSG:32632")
        array = array.assign_coords(y=np.arange(90.0)[::-1], x=np.arange(120.0))
        result = sgovss.segment(array, WORDS, tmp_path / "out", predictor=predictor)
        return result.files["labels"].stat().st_mtime_ns, result.labels

    first, again = labels(PIXELS), labels(PIXELS)
    assert first[0] == again[0]
    other = labels(255 - PIXELS)
    assert other[0] != first[0] and not np.array_equal(other[1], first[1])


def test_pictures_without_a_usable_name(predictor, photo, tmp_path):
    mapped = np.memmap(tmp_path / "pixels", np.uint8, "w+", shape=PIXELS.shape)
    mapped[:] = PIXELS
    for source in (mapped + np.uint8(0), Image.open(bytes(photo)), Image.open(io.BytesIO(photo.read_bytes()))):
        result = sgovss.segment(source, WORDS, predictor=predictor)
        assert result.files["labels"].name == "image_labels.png"


def test_notes_on_the_words_name_the_line_of_the_user(predictor, photo):
    for segment in (lambda: sgovss.segment(photo, "roof", predictor=predictor), lambda: predictor(photo, "roof")):
        with pytest.warns(UserWarning, match="one class, 'roof'") as caught:
            segment()
        assert (caught[0].filename, caught[0].lineno) == (__file__, segment.__code__.co_firstlineno)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "cannot segment a NoneType; give a file"),
        (3, "cannot segment a int; give a file"),
        ({}, "cannot segment a dict; give a file"),
        ([], "a list of images must hold names of files"),
        ([PIXELS], "a list of images must hold names of files"),
        ("", "the name of an image is empty"),
        ("none.jpg", "none.jpg: no such file or folder"),
        (PIXELS[..., 0], r"expected \(H, W, 3\) uint8 RGB, not \(90, 120\) uint8"),
        (PIXELS / 255, r"expected \(H, W, 3\) uint8 RGB, not \(90, 120, 3\) float64"),
        (PIXELS.transpose(2, 0, 1), r"expected \(H, W, 3\) uint8 RGB, not \(3, 90, 120\)"),
        (PIXELS.astype(np.uint16), r"expected \(H, W, 3\) uint8 RGB, not .* uint16"),
        (PIXELS[:0], r"expected \(H, W, 3\) uint8 RGB, not \(0, 120, 3\)"),
        (Image.fromarray(np.zeros((8, 8), np.uint16)), "more than 8 bits a channel"),
    ],
)
def test_wrong_images_are_one_line(predictor, tmp_path, source, message):
    with pytest.raises(InputError, match=message) as caught:
        sgovss.segment(source, WORDS, tmp_path / "out", predictor=predictor)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"treshold": 0.3}, "there is no option 'treshold'; did you mean 'threshold'"),
        ({"input": "a"}, r"there is no option 'input'; help\(sgovss.segment\) names all"),
        ({"threshold": "high"}, "threshold='high' is of a wrong kind; give a number"),
        ({"threshold": 3}, "--threshold: 3 is not from 0 to 1"),
        ({"gsd": True}, "gsd=bool True is of a wrong kind; give a number"),
        ({"confidence": 1}, "confidence=int 1 is of a wrong kind; give True or False"),
        ({"bands": {4, 3}}, "bands=set .* is of a wrong kind; give a text, or a list of them"),
        ({"bands": (4, 3)}, "--bands: '4,3' is not 3 numbers"),
        ({"bounds": 7}, "bounds=int 7 is of a wrong kind"),
        ({"stretch": (2, 300)}, "--stretch: '2,300' must be two rising percentiles"),
        ({"polygons": "shp"}, "--polygons: 'shp' is not a format"),
        ({"polygons": 7}, "polygons=int 7 is of a wrong kind; give a text"),
        ({"aoi": "none.gpkg"}, "--aoi none.gpkg: no such file"),
        ({"resume": True, "restart": True}, "--resume and --restart exclude each other"),
        ({"shared_folder": "perhaps"}, "shared_folder='perhaps' is of a wrong kind; give yes or no"),
        ({"share": "1/2"}, "shares of a run need a common folder; give output"),
        ({"config_file": "sgovss_tiny.yaml"}, "config_file and predictor exclude each other"),
        ({"predictor": "sgovss_tiny.yaml"}, "predictor is a str; give a sgovss.Predictor"),
        ({"predictor": sgovss.Predictor}, "predictor is a class; give a sgovss.Predictor, such as sgovss.Predictor"),
        ({"predictor": sgovss.Predictor.from_pretrained}, "predictor is a method; give a sgovss.Predictor"),
        ({"predictor": len}, "predictor is a builtin_function_or_method; give a sgovss.Predictor"),
        ({"output": 3}, "output=3 is no folder"),
        ({"output": "a\0b"}, "is no folder; give its path"),
        ({"aoi": "x" * 300}, "no such file"),
        ({"workers": 2}, "workers load the model themselves"),
    ],
)
def test_wrong_options_are_one_line(predictor, photo, options, message):
    with pytest.raises(InputError, match=message) as caught:
        sgovss.segment(photo, WORDS, **{"predictor": predictor, **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 1.5}, "workers=float 1.5 is of a wrong kind"),
        (
            {"workers": 2, "share": "1/2", "output": "o"},
            "--workers, --scheduler, --share and --finish exclude each other",
        ),
        ({"share": "1/2", "finish": True, "output": "o"}, "exclude each other; give one of them"),
        ({"workers": 2, "scheduler": "tcp://127.0.0.1:1"}, "exclude each other; give one of them"),
        ({"workers": 0}, "--workers 0: give the number of processes"),
        ({"opts": 5}, "opts=int 5 is of a wrong kind; give a dict of config keys and values"),
        ({"opts": {"NO.KEY": 1}}, "NO.KEY"),
        ({"precision": "half"}, "precision='half' is of a wrong kind; give auto or float32 or bfloat16"),
        ({"quality": "superb"}, "--quality: 'superb' is no quality; choose from fast, good, best"),
        ({"quality": "good", "views": "turns"}, "--views and --quality exclude each other"),
        ({"views": ["turns", "round"]}, "--views: 'round' is not a view"),
        ({"config_file": "none.yaml"}, "none.yaml"),
        ({"onnx": "none.onnx"}, "none.onnx"),
        ({"onnx": "x" * 300}, "no such file"),
        ({"config_file": "x" * 300}, "among the configs of sgovss"),
        ({"opts": {"MODEL.WEIGHTS": "x" * 300}}, "MODEL.WEIGHTS: no file or folder"),
        ({"onnx": "a.onnx", "config_file": "b.yaml"}, "config_file and onnx exclude each other"),
    ],
)
def test_wrong_options_of_the_model_are_one_line(photo, options, message):
    with pytest.raises(InputError, match=message) as caught:
        sgovss.segment(photo, WORDS, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "y" * 256 + ".tif", "ü" * 200, "folder/" + "z" * 300])
def test_a_name_that_is_too_long_is_no_image(predictor, name):
    for source in (name, [name], Path(name)):
        with pytest.raises(InputError, match="no such file or folder"):
            sgovss.segment(source, WORDS, predictor=predictor)


@pytest.mark.parametrize("words", ["z" * 300 + ".txt", "folder/" + "z" * 300 + ".csv", "z" * 300 + ".json"])
def test_a_name_that_is_too_long_is_no_vocabulary(predictor, photo, words):
    with pytest.raises(InputError, match=r"cannot read this vocabulary file \(.*\); correct the path"):
        sgovss.segment(photo, words, predictor=predictor)


def test_an_error_of_the_program_is_not_hidden(predictor, photo, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("sgovss.mapping.segmenter.segment_photograph", broken)
    with pytest.raises(ZeroDivisionError):
        sgovss.segment(photo, WORDS, predictor=predictor)


def test_importing_the_package_imports_no_library():
    code = "import sys, sgovss; dir(sgovss); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "torch", "PIL", "rasterio", "tqdm", "pandas", "xarray"} & set(modules)
    assert "segment" in sgovss.__all__ and Path(sgovss.__file__).is_file()
