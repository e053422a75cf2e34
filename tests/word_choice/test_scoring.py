"""Scores of words on images are those of the product, for every vocabulary, view, cache and offset."""

from __future__ import annotations

import numpy as np
import pytest

import sgovss
from sgovss.class_entries import ClassEntry
from sgovss.vocabulary import Vocabulary
from sgovss.word_choice.candidates import Candidates
from sgovss.word_choice.material import from_label_folder, label_values
from sgovss.word_choice.scoring import ScoredImage
from tests.word_choice.conftest import write_scenes

VOCABULARIES = [
    "grass|lawn|meadow, water|river",
    "car, tree|forest, sea|lake|pond, road",
    [ClassEntry("grass", offset=0.4, words=("lawn", "green field")), ClassEntry("water", ("sea",))],
]


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, 2)
    return from_label_folder(folder / "images", folder / "labels", label_values(None, None, 2))


@pytest.mark.parametrize("words", VOCABULARIES)
@pytest.mark.parametrize("cached", [False, True])
def test_labels_and_scores_equal_those_of_the_predictor(predictor, material, words, cached, tmp_path):
    vocabulary, sample = Vocabulary.of(words), material.samples[0]
    image = ScoredImage(predictor, sample, tmp_path if cached else None)
    expected = predictor(sample.path, vocabulary)
    for _ in range(2):  # the second time from the cache
        np.testing.assert_array_equal(image.labels(vocabulary), expected.labels)
        scores = image.scores(vocabulary).all().amax(dim=0).numpy()
        # The encodings of a file have another memory layout, which changes the order of sums.
        np.testing.assert_allclose(scores, expected.scores, rtol=0, atol=1e-6 if cached else 0)
    assert len([*tmp_path.rglob("*.safetensors")]) == cached


@pytest.mark.parametrize(
    "options", [("TEST.VIEWS", "['turns']"), ("TEST.SCENE.WINDOW", "64", "TEST.SCENE.STRIDE", "32")]
)
def test_several_views_and_windows_are_kept_too(material, options, tmp_path):
    predictor = sgovss.Predictor("sgovss_tiny.yaml", options=("MODEL.DEVICE", "cpu", *options))
    vocabulary, sample = Vocabulary.of(VOCABULARIES[0]), material.samples[1]
    expected = predictor(sample.path, vocabulary).labels
    for cache in (None, tmp_path, tmp_path):
        np.testing.assert_array_equal(ScoredImage(predictor, sample, cache).labels(vocabulary), expected)
    assert len([*tmp_path.rglob("*.safetensors")]) > 1


def test_the_confusion_matrix_against_a_loop(predictor, material):
    vocabulary, image = Vocabulary.of("grass, water"), ScoredImage(predictor, material.samples[0])
    expected = np.zeros((3, 3), np.int64)
    for found, true in zip(image.labels(vocabulary).flat, image.truth.flat, strict=True):
        expected[found, true] += 1
    np.testing.assert_array_equal(image.matrix(vocabulary), expected)
    assert expected[:, 2].sum() == 96  # the row without a class


@pytest.mark.parametrize("choice", [((0,), (1,)), ((0, 2), (3,)), ((2,), (1, 3))])
def test_the_grid_agrees_with_the_product_almost_everywhere(predictor, material, choice):
    """Without fine-tuning words do not influence each other; what remains is the resolution of the grid."""
    candidates = Candidates.of(Vocabulary.of("grass, water"), [["lawn"], ["sea"]])
    assert candidates.words == ("grass", "water", "lawn", "sea")
    image = ScoredImage(predictor, material.samples[0])
    grid = image.grid(candidates, cells=96 * 96)
    labels = grid.class_logits(choice).argmax(axis=0).reshape(24, 24)
    exact = image.labels(candidates.vocabulary(choice))
    assert (labels == exact[2::4, 2::4]).mean() > 0.97
    assert grid.truth.sum() == 96 * 95


@pytest.mark.parametrize("offset", [-0.7, 0.3, 2.0])
def test_an_offset_is_added_to_the_logits(predictor, material, offset):
    plain = Vocabulary([ClassEntry("grass", ("lawn",)), ClassEntry("water")])
    shifted = Vocabulary([ClassEntry("grass", ("lawn",)), ClassEntry("water", offset=offset)])
    image = ScoredImage(predictor, material.samples[0])
    first, second = (image.scores(each).all().numpy() for each in (plain, shifted))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_allclose(second[1], 1 / (1 + (1 - first[1]) / first[1] * np.exp(-offset)), atol=1e-6)


def test_offsets_reach_rasters_and_files_of_words(predictor, material, tmp_path):
    file = tmp_path / "words.yaml"
    file.write_text("- {name: grass, offset: 9}\n- {name: water, words: [sea, lake]}\n")
    vocabulary = Vocabulary.from_file(file)
    assert [(each.offset, each.scored_names) for each in vocabulary] == [(9.0, ("grass",)), (0.0, ("sea", "lake"))]
    pytest.importorskip("rasterio")
    result = sgovss.segment(
        material.samples[0].path, vocabulary, predictor=predictor, edges=True, output=tmp_path / "out"
    )
    assert (result.labels == 0).all()
