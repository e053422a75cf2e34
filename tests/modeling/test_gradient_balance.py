"""The compensation's strength relative to the labels: the same for few and many classes, few and many labels."""

from __future__ import annotations

import copy

import pytest
import torch

from sgovss.config import load_config
from sgovss.engine.gradient_ratio import gradient_ratio
from sgovss.modeling import build_model
from sgovss.modeling.image_encoder import CLIPImageEncoder
from sgovss.synthetic import generate_image
from sgovss.vocabulary import Vocabulary
from tests.modeling.conftest import TUNING, make_batch

NAMES = (
    """
building, road, trees, water, car, grass, bare soil, parking lot, harbor, runway, court, storage tank, pond,
roof, river, bridge, train, boat, field, beach, forest, path, garden, fence, sand, roundabout, plane,
container, greenhouse, solar panel, stadium, dock, railway, sidewalk, snow, rock, shrub, wetland, mine, desert
""".replace("\n", " ")
    .strip()
    .split(", ")
)


def changed(model, spread: float):
    """The model with an image encoder that differs from the frozen one."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.image_encoder.parameters():
            parameter.mul_(1 + spread * torch.randn_like(parameter))
    return model


def ratio_of(model, classes: int, share: float) -> float:
    """Ratio of the gradients for synthetic images whose upper part has labels of the first five classes."""
    vocabulary = Vocabulary.from_string(", ".join(NAMES[:classes]))
    batch = []
    for seed in (1, 2):
        drawn = generate_image(seed, 224, "b")
        image, labels = torch.from_numpy(drawn.image).permute(2, 0, 1), torch.from_numpy(drawn.labels).long() % 5
        labels[round(224 * share) :] = 255
        batch.append({"image": image, "sem_seg": labels, "vocabulary": vocabulary})
    torch.manual_seed(0)
    return gradient_ratio(model(batch), list(model.image_encoder.parameters())).item()


@pytest.fixture(scope="module")
def embedded():
    return changed(build_model(load_config("sgovss_tiny.yaml")), spread=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("labelled", [1.0, 0.1])
def test_the_weight_means_the_same_whatever_the_classes_and_labels(embedded, labelled):
    """Before, the ratio was 8 times higher with 40 classes, and 8 times higher with few labels at ``labelled`` 0.1."""
    embedded.compensation.labelled = labelled
    ratios = {(classes, share): ratio_of(embedded, classes, share) for classes in (5, 40) for share in (1.0, 0.125)}
    assert max(ratios.values()) < 2.5 * min(ratios.values()), ratios


def test_the_ratio_is_that_of_the_norms_of_two_separate_gradients(model, vocabulary):
    model = changed(model, spread=0.05)
    batch, tuned = make_batch(vocabulary), [p for p in model.image_encoder.parameters() if p.requires_grad]
    norms = []
    for start in ("loss_gc", "loss_pixel"):
        model.zero_grad()
        torch.manual_seed(0)
        sum(loss for name, loss in model(batch).items() if name.startswith(start)).backward()
        norms.append(torch.cat([p.grad.flatten() for p in tuned if p.grad is not None]).norm())
    torch.manual_seed(0)
    losses = model(batch)
    torch.testing.assert_close(gradient_ratio(losses, tuned), norms[0] / norms[1])
    sum(losses.values()).backward()  # it can still be derived


def test_gradient_checkpointing_gives_the_same_ratio_and_gradients(kind, clip, model, vocabulary):
    model, batch = changed(model, spread=0.05), make_batch(vocabulary)
    frugal = copy.deepcopy(model)
    frugal.image_encoder = CLIPImageEncoder(visual=copy.deepcopy(clip).visual, tuning=TUNING[kind], recompute=True)
    frugal.image_encoder.load_state_dict(model.image_encoder.state_dict())
    ratios, gradients = [], []
    for each in (model, frugal):
        torch.manual_seed(0)
        losses, tuned = each(batch), list(each.image_encoder.parameters())
        ratios.append(gradient_ratio(losses, tuned))
        sum(losses.values()).backward()
        gradients.append([parameter.grad for parameter in tuned])
    torch.testing.assert_close(ratios[1], ratios[0])
    torch.testing.assert_close(gradients[1], gradients[0])


def test_there_is_no_ratio_without_compensation_or_training(model, vocabulary):
    losses = model(make_batch(vocabulary))
    assert gradient_ratio(losses, [p.detach() for p in model.image_encoder.parameters()]) is None
    assert gradient_ratio({"loss_pixel": losses["loss_pixel"]}, list(model.image_encoder.parameters())) is None
