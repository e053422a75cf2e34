"""Class names that the tokenizer would lose are refused; names in other alphabets that it knows are not."""

from __future__ import annotations

import pytest
import torch

from sgovss.errors import InputError
from sgovss.modeling.clip_models import load_clip
from sgovss.modeling.open_clip_models import create_tokenizer
from sgovss.modeling.text_embedder import TextEmbedder
from sgovss.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def tiny() -> TextEmbedder:
    """The embedded model's text embedder, whose tokenizer knows words and parts of words."""
    return TextEmbedder(clip=load_clip("tiny", "random"), tokenizer=create_tokenizer("tiny"), templates=("a {} here",))


@pytest.mark.parametrize("words", ["🌳 tree, 🏠 house", "道路, 水", "дорога, вода", "road!, road?"])
def test_words_that_differ_for_the_tokenizer(tiny, words):
    first, second = tiny(Vocabulary.from_string(words)).embeddings
    assert first @ second < 0.999


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("🌳, 🏠", "'🌳' is unknown to the text encoder"),
        ("tree|🌳, house", "'🌳' is unknown to the text encoder"),
        ("naïve art, naive art", "'naive art' and 'naïve art' are the same to the text encoder"),
        ("long " * 500, "'long long .*…' is too long for the text encoder, which reads 64 tokens"),
    ],
)
def test_words_that_it_would_lose(tiny, words, message):
    with pytest.raises(InputError, match=message):
        tiny(Vocabulary.from_string(words))


def test_synonyms_may_be_the_same_to_it(tiny):
    assert len(tiny(Vocabulary.from_string("naïve art|naive art, house")).embeddings) == 3


def test_without_synonyms_only_the_first_name_of_a_class_is_embedded(tiny):
    vocabulary, first = Vocabulary.from_string("road|street, tree|forest|wood"), Vocabulary.from_string("road, tree")
    every = tiny(vocabulary)
    assert every.owners.tolist() == [0, 0, 1, 1, 1]
    alone = TextEmbedder(clip=tiny.clip, tokenizer=tiny.tokenizer, templates=tiny.templates, synonyms=False)
    assert alone(vocabulary).owners.tolist() == [0, 1]
    assert torch.equal(alone(vocabulary).embeddings, alone(first).embeddings)
    torch.testing.assert_close(alone(vocabulary).embeddings, every.embeddings[[0, 2]])


def test_a_tokenizer_of_bytes_knows_everything(embedder):
    embeddings = embedder(Vocabulary.from_string("🌳, 🏠, 道路")).embeddings
    assert (embeddings @ embeddings.T - torch.eye(3)).max() < 0.9999
    with pytest.raises(InputError, match="which reads 16 tokens"):
        embedder(Vocabulary.from_string("very " * 20))
