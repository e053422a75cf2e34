"""Cache of text embeddings on disk: equal numbers, encoded once, no mix-up between encoders or prompts."""

import copy
import logging

import pytest
import torch

from sgovss.modeling.text_embedder import TextEmbedder
from sgovss.vocabulary import Vocabulary


@pytest.fixture
def kind():
    return "vit"  # the image encoder is not used


@pytest.fixture
def build(clip, embedder, monkeypatch, tmp_path):
    """Builds embedders with a cache below ``tmp_path``, and counts their batches in ``build.calls``."""
    monkeypatch.setenv("SGOVSS_CACHE", str(tmp_path / "cache"))

    def make(templates=("a RS photo of {}", "an aerial view of {}"), change=None, keep=True):
        own = copy.deepcopy(clip)
        if change is not None:
            change(own)
        encode = own.encode_text
        own.encode_text = lambda *args, **named: make.calls.append(1) or encode(*args, **named)
        return TextEmbedder(clip=own, tokenizer=embedder.tokenizer, templates=templates, keep=keep)

    make.calls = []
    return make


@pytest.fixture
def files(tmp_path):
    return lambda: sorted((tmp_path / "cache").rglob("*.safetensors"))


def test_the_next_run_takes_what_an_earlier_one_encoded(build, files, vocabulary):
    first = build()(vocabulary)
    assert build.calls == [1] and len(files()) == 1
    second = build()(vocabulary)
    assert build.calls == [1] and len(files()) == 1
    assert torch.equal(first.embeddings, second.embeddings) and torch.equal(first.owners, second.owners)
    assert torch.equal(first.embeddings, build(keep=False)(vocabulary).embeddings)


def test_other_words_templates_weights_or_activation_have_a_file_of_their_own(build, files, vocabulary):
    def other_weights(clip):
        clip.text_projection.data[0, 0] += 1e-3

    def other_activation(clip):
        clip.transformer.resblocks[0].mlp.gelu = torch.nn.ReLU()

    expected = build()(vocabulary).embeddings
    build()(Vocabulary.from_string("building, road"))
    for changed in (build(templates=("{}",)), build(change=other_weights), build(change=other_activation)):
        assert not torch.equal(changed(vocabulary).embeddings, expected)
    assert len(files()) == len(build.calls) == 5


def test_weights_loaded_later_are_those_that_count(build, files, vocabulary):
    embedder = build()
    embedder(vocabulary)
    state = {key: value + 1e-3 for key, value in embedder.state_dict().items()}
    embedder.load_state_dict(state)
    embedder(vocabulary)
    assert len(files()) == len(build.calls) == 2


def test_a_damaged_file_is_encoded_again(build, files, vocabulary, caplog):
    expected = build()(vocabulary).embeddings
    files()[0].write_bytes(files()[0].read_bytes()[:100])
    with caplog.at_level(logging.WARNING):
        assert torch.equal(build()(vocabulary).embeddings, expected)
    assert "cannot be read" in caplog.text
    assert torch.equal(build()(vocabulary).embeddings, expected)
    assert len(build.calls) == 2


def test_where_nothing_can_be_written_words_are_encoded_all_the_same(build, vocabulary, tmp_path, caplog):
    (tmp_path / "cache").write_text("no folder")
    with caplog.at_level(logging.WARNING):
        assert len(build()(vocabulary).embeddings) == 5
    assert "not kept" in caplog.text
