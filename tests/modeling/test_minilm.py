"""The embedded model's text encoder against open_clip's, which runs it in transformers."""

from __future__ import annotations

import pytest
import torch

from sgovss.modeling.clip_configuration import EMBEDDED_MODEL, minilm_folder
from sgovss.modeling.minilm import MiniLM, MiniLMTokenizer

TEXTS = [
    "an aerial photo of a building",
    "",
    "Straße &amp; cafÃ©  with\ttabs",  # an entity, a word that was decoded wrongly, white space
    "Müll “quoted” — 道路",
    "\U00013000",
    "word " * 100,
]


@pytest.fixture(scope="module")
def reference():
    pytest.importorskip("transformers")
    from sgovss.modeling.open_clip_models import create_model, create_tokenizer

    return create_model(EMBEDDED_MODEL).text.eval(), create_tokenizer(EMBEDDED_MODEL)


@pytest.mark.parametrize("length", [8, 64])
def test_tokens(reference, length):
    tokens = MiniLMTokenizer(minilm_folder(), length)(TEXTS)
    assert tokens.shape == (len(TEXTS), length)
    torch.testing.assert_close(tokens, reference[1](TEXTS, context_length=length))


@torch.no_grad()
def test_embeddings(reference):
    expected, tokenizer = reference
    encoder = MiniLM(minilm_folder()).eval()
    encoder.load_state_dict(expected.state_dict())
    tokens = tokenizer(TEXTS)
    torch.testing.assert_close(encoder(tokens), expected(tokens), atol=1e-6, rtol=1e-5)
    together, alone = encoder(tokens), encoder(tokens[2:3, :16])
    torch.testing.assert_close(alone[0], together[2], atol=1e-6, rtol=1e-5)  # padding does not count
