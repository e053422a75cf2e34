"""The predictor: one image into any classes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

import sgovss
from sgovss.engine.checkpoint import save_inference_checkpoint
from sgovss.errors import InputError
from sgovss.inference.interactive import InteractiveSegmenter
from sgovss.inference.rejection import NOTHING_REJECTED, Rejection
from sgovss.synthetic import generate_image
from sgovss.vocabulary import ClassEntry, Vocabulary
from tests.fixtures.town import town

WORDS = "building, road, tree|forest, water"


@pytest.fixture(scope="module")
def predictor():
    return sgovss.Predictor("sgovss_tiny.yaml", options=("MODEL.DEVICE", "cpu"))


def test_predictor_labels_follow_the_vocabulary(predictor):
    image = generate_image(5, size=96, style="b").image
    segmentation = predictor(image, WORDS)
    assert segmentation.labels.shape == segmentation.scores.shape == (96, 96)
    assert segmentation.legend.names == ["building", "road", "tree", "water"]
    assert set(np.unique(segmentation.labels)) <= set(range(4))
    assert 0 <= segmentation.scores.min() <= segmentation.scores.max() <= 1


def test_predictor_without_fine_tuning_has_no_frozen_encoder(predictor):
    assert predictor.model.frozen_encoder is None


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3)),
        np.zeros((0, 8, 3), np.uint8),
        torch.zeros(8, 8, 3, dtype=torch.uint8),
        None,
        [np.zeros((8, 8, 3), np.uint8)],
        Image.new("RGB", (0, 8)),
    ],
)
def test_wrong_image_is_named(predictor, image):
    with pytest.raises(InputError, match=r"\(H, W, 3\) uint8"):
        predictor(image, WORDS)


def test_images_and_words_in_every_documented_form(predictor, tmp_path):
    pixels = generate_image(5, size=64, style="b").image
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    expected = predictor(pixels, Vocabulary.from_string("building, road"))
    for image in (path, str(path), Image.open(path), Image.fromarray(pixels).convert("RGBA")):
        assert np.array_equal(predictor(image, "building, road").labels, expected.labels)
    for words in (["building", "road"], ("building", "road"), [ClassEntry("building"), ClassEntry("road")]):
        assert np.array_equal(predictor(pixels, words).labels, expected.labels)
    assert predictor(path, "building, road").source == path
    with pytest.raises(InputError, match=r"none\.jpg: cannot read this image \(No such file or directory\)"):
        predictor("none.jpg", WORDS)
    with pytest.raises(InputError, match="expected class names such as"):
        predictor(pixels, {"building": 1})
    with pytest.raises(InputError, match=r"rejection: expected Rejection\(threshold, background\), not float"):
        predictor(pixels, WORDS, 0.5)
    with pytest.raises(InputError, match="more than 8 bits a channel"):
        predictor(Image.fromarray(np.zeros((8, 8), np.uint16)), WORDS)


def test_one_class_without_rejection_is_a_warning(predictor):
    pixels = generate_image(5, size=64, style="b").image
    with pytest.warns(UserWarning, match="one class, 'building road': every pixel will be it"):
        predictor(pixels, "building road")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predictor(pixels, "building", Rejection.parse(0.5, ""))
        predictor(pixels, Vocabulary.from_string("building"))


def test_wrong_precision_is_named():
    with pytest.raises(
        InputError, match=r"TEST\.PRECISION: 'float64' is not allowed; use float32, bfloat16 or float16"
    ):
        sgovss.Predictor("sgovss_tiny.yaml", precision="float64")


def test_the_predictor_gives_the_scores_of_the_model(predictor):
    image = generate_image(5, size=96, style="b").image
    segmentation = predictor(image, WORDS)
    entry = {"image": torch.from_numpy(image.transpose(2, 0, 1).copy()), "vocabulary": segmentation.legend}
    scores = predictor.model([entry])[0]["sem_seg"].numpy()
    assert np.array_equal(segmentation.scores, scores.max(axis=0))
    assert np.array_equal(segmentation.labels, scores.argmax(axis=0))
    assert segmentation.image is image


def test_rejected_pixels_become_other(predictor):
    image = generate_image(5, size=96, style="b").image
    rejection = Rejection.parse(1.0, " ground | soil|")
    assert rejection.background == ("ground", "soil")
    segmentation = predictor(image, WORDS, rejection)
    assert segmentation.shares["other"] == 1
    assert segmentation.scores.max() <= 1


@pytest.mark.parametrize("from_checkpoint", [False, True])
def test_kept_words_need_no_text_encoder(tmp_path, monkeypatch, from_checkpoint):
    monkeypatch.setenv("SGOVSS_CACHE", str(tmp_path / "cache"))
    image, config, weights = generate_image(5, size=64, style="b").image, "sgovss_tiny.yaml", None
    options = ("MODEL.DEVICE", "cpu")
    if from_checkpoint:
        first = sgovss.Predictor(config, options=options)
        config, weights = None, tmp_path / "model_inference.pth"
        save_inference_checkpoint(first.model, first.cfg, weights)
    first, second = (sgovss.Predictor(config, weights, options) for _ in range(2))
    expected = first(image, WORDS)
    found = second(image, WORDS)
    assert first.fingerprint == second.fingerprint
    assert [each.model.text_embedder.clip.text is None for each in (first, second)] == [False, True]
    assert np.array_equal(found.labels, expected.labels) and np.array_equal(found.scores, expected.scores)
    assert second(image, "meadow, canal").labels.shape == (64, 64)
    assert second.model.text_embedder.clip.text is not None


def test_the_web_page_has_the_views_of_the_config():
    image = generate_image(5, size=64, style="b").image
    scores = []
    for views in ("[]", "['turns']", "['mirror',1.5]"):
        predictor = sgovss.Predictor("sgovss_tiny.yaml", options=("MODEL.DEVICE", "cpu", "TEST.VIEWS", views))
        page = InteractiveSegmenter(predictor)
        found = page.segment(page.add(image), Vocabulary.parse(WORDS), NOTHING_REJECTED)
        assert np.array_equal(found.scores, predictor(image, WORDS).scores)
        scores.append(found.scores)
    assert not np.array_equal(scores[0], scores[1]) and not np.array_equal(scores[1], scores[2])


@pytest.mark.parametrize("size", [(90, 200), (128, 100), (150, 150)])
def test_the_web_page_keeps_the_windows_of_a_photograph(monkeypatch, size):
    image = town()[: size[0], : size[1]].copy()
    options = ("MODEL.DEVICE", "cpu", "TEST.SCENE.WINDOW", "96", "TEST.SCENE.STRIDE", "64")
    predictor = sgovss.Predictor("sgovss_tiny.yaml", options=options)
    page, calls = InteractiveSegmenter(predictor, longest=200), []
    encode = predictor.model.encode
    monkeypatch.setattr(predictor.model, "encode", lambda images: calls.append(1) or encode(images))
    name = page.add(image)
    windows = len(calls)
    assert windows > 1
    for words in (WORDS, "roof, asphalt, meadow"):
        found = page.segment(name, Vocabulary.parse(words), NOTHING_REJECTED)
        assert len(calls) == windows
        assert np.array_equal(found.scores, predictor(image, words).scores)
        del calls[windows:]
    assert page.shrinks(np.zeros((201, 3, 3), np.uint8)) and not page.shrinks(image)
