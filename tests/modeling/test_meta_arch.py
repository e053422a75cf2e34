"""Outputs for vocabularies and images of any size."""

from __future__ import annotations

import pytest
import torch

from sgovss.modeling.views import WholeImage
from sgovss.vocabulary import ClassEntry, Vocabulary
from tests.modeling.conftest import make_batch, train_steps


@pytest.fixture
def trained(model, vocabulary):
    train_steps(model, make_batch(vocabulary), steps=3)
    return model.eval()


def words(count: int) -> Vocabulary:
    return Vocabulary([ClassEntry(f"thing {index}") for index in range(count)])


@pytest.mark.parametrize("count", [1, 2, 17, 300])
def test_any_number_of_classes(trained, count):
    result = trained([{"image": torch.randint(0, 256, (3, 64, 64)), "vocabulary": words(count)}])[0]["sem_seg"]
    assert result.shape == (count, 64, 64)
    assert result.isfinite().all()


def test_permuting_the_classes_permutes_the_scores(trained, vocabulary):
    image = torch.randint(0, 256, (3, 64, 64))
    order = [2, 0, 3, 1]
    shuffled = Vocabulary([vocabulary[index] for index in order])
    plain, permuted = trained([{"image": image, "vocabulary": v} for v in (vocabulary, shuffled)])
    torch.testing.assert_close(permuted["sem_seg"], plain["sem_seg"][order], atol=1e-5, rtol=1e-5)


def test_nothing_in_the_weights_is_tied_to_the_vocabulary(encoder, embedder, vocabulary, model):
    # Training with 11 classes and 13 names: no parameter or buffer may have such a dimension.
    shapes = {name: value.shape for name, value in [*model.named_parameters(), *model.named_buffers()]}
    odd = Vocabulary.from_string("a|b|c, d, e, f, g, h, i, j, k, l, m")
    train_steps(model, make_batch(odd), steps=2)
    after = {name: value.shape for name, value in [*model.named_parameters(), *model.named_buffers()]}
    assert after == shapes
    assert not [name for name, shape in shapes.items() if {11, 13} & set(shape) and "clip" not in name]


@pytest.mark.parametrize("size", [(16, 16), (1, 1), (33, 70), (64, 200), (97, 32)])
def test_any_size(trained, vocabulary, size):
    result = trained([{"image": torch.randint(0, 256, (3, *size)), "vocabulary": vocabulary}])[0]["sem_seg"]
    assert result.shape == (len(vocabulary), *size)
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 70)])
def test_training_with_crops_of_any_size(model, vocabulary, size):
    batch = [
        {
            "image": torch.randint(0, 256, (3, *size)),
            "sem_seg": torch.randint(0, len(vocabulary), size),
            "vocabulary": vocabulary,
        }
    ]
    losses = model.train()(batch)
    assert losses["loss_pixel"] > 0 and all(loss.isfinite() for loss in losses.values())


def test_mixed_sizes_and_vocabularies_in_one_batch_equal_single_images(trained, vocabulary):
    entries = [
        {"image": torch.randint(0, 256, (3, 64, 64)), "vocabulary": vocabulary},
        {"image": torch.randint(0, 256, (3, 40, 90)), "vocabulary": words(7), "height": 80, "width": 180},
        {"image": torch.randint(0, 256, (3, 64, 64)), "vocabulary": words(1)},
    ]
    together = trained(entries)
    assert [tuple(x["sem_seg"].shape) for x in together] == [(4, 64, 64), (7, 80, 180), (1, 64, 64)]
    for entry, result in zip(entries, together, strict=True):
        torch.testing.assert_close(trained([entry])[0]["sem_seg"], result["sem_seg"])


@torch.no_grad()
def test_a_class_scores_as_its_best_word(trained):
    image = torch.randint(0, 256, (1, 3, 64, 64))
    names = ["tree", "forest", "road"]
    # Without classes attending to each other each word's score stands alone.
    for stage in trained.head.decoder.stages:
        stage.classes = None
    trained.head.refinement = None
    single = trained.scores(image, Vocabulary.from_string(", ".join(names)))
    grouped = trained.scores(image, Vocabulary.from_string("tree|forest, road"))
    torch.testing.assert_close(grouped[:, 1], single[:, 2])
    # The maximum is taken per cell of the logits, before they are enlarged.
    assert (grouped[:, 0] >= single[:, :2].amax(dim=1) - 1e-5).all()


def test_without_synonyms_training_and_inference_use_the_first_names(model, vocabulary):
    """``vocabulary`` has the class tree|forest; its first names alone give the same losses and scores."""
    model.text_embedder.synonyms = False
    first = Vocabulary.from_string(", ".join(vocabulary.names))
    for _ in range(4):
        torch.testing.assert_close(model(make_batch(vocabulary)), model(make_batch(first)))
    image = torch.randint(0, 256, (1, 3, 64, 64))
    with torch.no_grad():
        torch.testing.assert_close(model.eval().scores(image, vocabulary), model.scores(image, first))


def test_training_draws_each_word_of_a_class(model):
    from sgovss.modeling.meta_arch import _one_word_each

    text = model.text_embedder(Vocabulary.from_string("tree|forest|wood, road, water|sea"))
    drawn = [_one_word_each(text, 3) for _ in range(60)]
    for owner, count in enumerate((3, 1, 2)):
        rows = text.embeddings[text.owners == owner]
        found = {int((rows == sample[owner]).all(dim=1).nonzero()) for sample in drawn}
        assert found == set(range(count))


def test_text_is_encoded_once_per_vocabulary(trained, vocabulary):
    calls = []
    handle = trained.text_embedder.clip.transformer.register_forward_hook(lambda *_: calls.append(1))
    entry = {"image": torch.randint(0, 256, (3, 64, 64)), "vocabulary": Vocabulary.from_string("cat, dog")}
    trained([entry])
    trained([entry, entry])
    assert len(calls) == 1
    trained([{**entry, "vocabulary": Vocabulary.from_string("cat, cow")}])
    handle.remove()
    assert len(calls) == 2


def test_padding_is_cut_off_again(trained, vocabulary):
    image = torch.randint(0, 256, (3, 48, 64)).float()
    padded = torch.nn.functional.pad(image[None], (0, 0, 0, 16), mode="replicate")[0]
    assert isinstance(trained.view, WholeImage)
    cut = trained.scores(image[None], vocabulary)
    whole = trained.scores(padded[None], vocabulary)
    if trained.image_encoder.size_divisibility == 32:
        torch.testing.assert_close(cut, whole[..., :48, :], atol=1e-5, rtol=1e-5)
    assert cut.shape[-2:] == (48, 64)
