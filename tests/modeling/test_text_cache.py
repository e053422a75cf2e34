"""Cache of text embeddings on disk: equal numbers, encoded once, no mix-up between encoders or prompts."""

import copy
import logging
import os
import re
from pathlib import Path

import pytest
import torch

from sgovss.modeling.text_cache import TextCache
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


def cut(content: bytes) -> bytes:
    return content[:100]


def flipped(content: bytes) -> bytes:
    return content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]


@pytest.mark.parametrize("damage", [cut, flipped, lambda _: b"", lambda _: b"\xff" * 1000])
def test_a_damaged_file_is_encoded_again(build, files, vocabulary, caplog, damage):
    expected = build()(vocabulary).embeddings
    files()[0].write_bytes(damage(files()[0].read_bytes()))
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


@pytest.mark.parametrize("text", ["road, water", "road|street, water", "tree"])
def test_kept_words_need_neither_encoder_nor_tokenizer(build, text, monkeypatch):
    words = Vocabulary.from_string(text)
    expected = build()(words)
    later = build()
    monkeypatch.setattr(later, "tokenizer", None)
    monkeypatch.setattr(later.clip, "encode_text", None)
    found = later(words)
    assert torch.equal(found.embeddings, expected.embeddings) and torch.equal(found.owners, expected.owners)


def test_synonyms_and_classes_of_the_same_names_are_not_mixed_up(build, files):
    for text in ("road, street, water", "road|street, water", "road, street|water", "street, road, water"):
        build()(Vocabulary.from_string(text))
    assert len(files()) == len(build.calls) == 4


def test_files_hold_no_names_and_their_names_tell_none(build, files):
    build()(Vocabulary.from_string("secret site, hidden bunker"))
    (path,) = files()
    assert b"secret" not in path.read_bytes() and b"bunker" not in path.read_bytes()
    assert re.fullmatch("[0-9a-f]{64}", path.stem)


def test_the_files_used_last_are_kept_within_the_limit(tmp_path):
    embeddings = torch.ones(1, 1000)
    size = 4200  # of a file, about
    cache = TextCache(tmp_path / "text", "encoder", largest=3 * size)
    for number, word in enumerate(("a", "b", "c")):
        cache.save([[word]], ["{}"], embeddings)
        os.utime(cache._path([[word]], ["{}"]), (number, number))
    assert cache.load([["a"]], ["{}"]) is not None  # used again
    cache.save([["d"]], ["{}"], embeddings)
    assert [cache.load([[word]], ["{}"]) is not None for word in "abcd"] == [True, False, True, True]
    alone = TextCache(tmp_path / "small", "encoder", largest=1)
    alone.save([["a"]], ["{}"], embeddings)
    assert alone.load([["a"]], ["{}"]) is not None


def _write_and_remove(_: int, folder: Path) -> None:
    torch.set_num_threads(1)  # those of the process that was forked are gone
    cache = TextCache(folder, "encoder", largest=20_000)
    for number in range(150):
        word = str(number % 9)
        cache.save([[word]], ["{}"], torch.full((1, 1000), float(word)))
        found = cache.load([[str(number * 7 % 9)]], ["{}"])
        assert found is None or found.unique().item() == number * 7 % 9


def test_several_processes_may_write_and_remove_at_once(tmp_path):
    torch.multiprocessing.start_processes(_write_and_remove, (tmp_path / "text",), nprocs=2, start_method="fork")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to_is_read(build, files, vocabulary, tmp_path, caplog):
    expected = build()(vocabulary).embeddings
    (tmp_path / "cache" / "text").chmod(0o500)
    assert torch.equal(build()(vocabulary).embeddings, expected)
    assert not caplog.text and len(build.calls) == 1
    build()(Vocabulary.from_string("another"))
    assert "not kept" in caplog.text
    (tmp_path / "cache" / "text").chmod(0o700)
