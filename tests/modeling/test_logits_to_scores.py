"""From the logits to the scores and the losses, against references written out here."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from sgovss.modeling.logits import with_offsets, with_score_offsets
from sgovss.modeling.objective import PixelObjective
from sgovss.vocabulary import ClassEntry, Vocabulary
from tests.modeling.conftest import (
    make_batch,
    open_gates,
)
from tests.modeling.places import enlarged, randn, turned

WORDS = Vocabulary.from_string("building, road, water")


def logits_of(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Logits of images (B, 3, H, W) whose sides are multiples of the encoder's stride."""
    levels = model.image_encoder((images - model.pixel_mean) / model.pixel_std)
    return model.head(levels, model.text_embedder(WORDS).embeddings)


@torch.no_grad()
def test_scores_are_the_logits_enlarged_in_place(kind, model):
    open_gates(model.head)
    model.eval()
    images = 255 * torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    logits = logits_of(model, images)
    factor = {"convnext": 4, "vit": 2}[kind]
    assert logits.shape == (2, 3, 64 // factor, 96 // factor)
    expected = enlarged(logits, factor).sigmoid()
    assert expected.std() > 1e-3
    torch.testing.assert_close(model.scores(images, WORDS), expected, atol=1e-5, rtol=1e-4)
    alone = model([{"image": images[1], "vocabulary": WORDS}])[0]["sem_seg"]
    torch.testing.assert_close(alone, expected[1], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_pixel_loss_is_that_of_the_enlarged_logits():
    logits, labels = randn(2, 3, 3, 5), torch.randint(0, 3, (2, 12, 20), generator=torch.Generator().manual_seed(0))
    labels[0, :3] = 255
    objective = PixelObjective("MASK", 255, least_share=0.1)
    expected = objective(enlarged(logits, 4), labels)
    torch.testing.assert_close(objective(logits, labels), expected)
    for turns in (1, 2, 3):
        torch.testing.assert_close(objective(turned(logits, turns), turned(labels, turns)), expected)


@torch.no_grad()
def test_the_pixel_loss_leaves_out_the_padding(kind, model):
    """An image of 40 x 72 is padded below and at the right; the logits of its own pixels count."""
    open_gates(model.head)
    (entry,) = make_batch(WORDS, size=96, images=1)
    image, labels = entry["image"][:, :40, :72], entry["sem_seg"][:40, :72]
    divisor = model.image_encoder.size_divisibility
    below, right = -40 % divisor, -72 % divisor
    padded = F.pad(image[None].float(), (0, right, 0, below), mode="replicate")
    factor = {"convnext": 4, "vit": 2}[kind]
    logits = enlarged(logits_of(model, padded)[..., : 40 // factor, : 72 // factor], factor)[0]
    counted = labels != 255
    targets = F.one_hot(labels.where(counted, 0), 3).movedim(-1, 0).float()
    each = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    found = model([{**entry, "image": image, "sem_seg": labels}])["loss_pixel"]
    torch.testing.assert_close(found, each[:, counted].mean(), atol=1e-5, rtol=1e-4)


def test_offsets_are_added_to_the_logits_of_their_class():
    logits = randn(2, 3, 4, 5)
    vocabulary = Vocabulary([ClassEntry("road", offset=0.5), ClassEntry("water"), ClassEntry("tree", offset=-2.0)])
    expected = torch.stack([logits[:, 0] + 0.5, logits[:, 1], logits[:, 2] - 2.0], dim=1)
    assert torch.equal(with_offsets(logits, vocabulary), expected)
    torch.testing.assert_close(with_score_offsets(logits.sigmoid(), vocabulary), expected.sigmoid())
