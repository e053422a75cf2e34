"""The pixel objective against the formula written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sgovss.errors import InputError
from sgovss.modeling.objective import PixelObjective


def by_hand(logits: torch.Tensor, labels: torch.Tensor, ignored: str) -> float:
    total, count = 0.0, 0
    for b, y, x in ((b, y, x) for b in range(len(labels)) for y in range(3) for x in range(4)):
        label = int(labels[b, y, x])
        if label == 255 and ignored == "MASK":
            continue
        for t in range(logits.shape[1]):
            p = torch.sigmoid(logits[b, t, y, x])
            total -= float(torch.log(p if t == label else 1 - p))
            count += 1
    return total / count


@pytest.mark.parametrize("ignored", ["MASK", "NEGATIVE"])
def test_equals_the_formula(ignored):
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 5, 3, 4), torch.randint(0, 5, (2, 3, 4))
    labels[0, 0], labels[1, 2, 3] = 255, 255
    loss = PixelObjective(ignored, 255, least_share=0.1)(logits, labels)
    assert loss.item() == pytest.approx(by_hand(logits, labels, ignored), rel=1e-5)


@pytest.mark.parametrize("ignored", ["MASK", "NEGATIVE"])
@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0, 1.0, 1.0], [0.5, 2.0, 1.0, 8.0, 0.1], [0.0, 0.0, 3.0, 0.0, 0.0]])
def test_pixels_are_weighed_by_their_class(ignored, weights):
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 5, 3, 4), torch.randint(0, 5, (2, 3, 4))
    labels[0, 0], labels[1, 2, 3] = 255, 255
    objective = PixelObjective(ignored, 255, least_share=0.0)
    objective.weigh(torch.tensor(weights))
    losses, total = 0.0, 0.0
    for b, y, x in ((b, y, x) for b in range(2) for y in range(3) for x in range(4)):
        label = int(labels[b, y, x])
        weight = weights[label] if label != 255 else float(ignored == "NEGATIVE")
        one = logits[b : b + 1, :, y : y + 1, x : x + 1], labels[b : b + 1, y : y + 1, x : x + 1]
        losses += weight * (by_hand_one(*one) if weight else 0.0)
        total += weight
    assert objective(logits, labels).item() == pytest.approx(losses / total, rel=1e-5)
    assert objective.state_dict() == {}  # nothing that belongs to the training classes is saved


def by_hand_one(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """The mean loss of the classes at one pixel."""
    probabilities = logits.flatten().sigmoid().tolist()
    own = [p if t == labels.item() else 1 - p for t, p in enumerate(probabilities)]
    return -sum(math.log(p) for p in own) / len(own)


def test_masked_pixels_give_no_gradient():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    labels = torch.full((1, 4, 4), 255)
    labels[0, 0, 0] = 1
    PixelObjective("MASK", 255, least_share=0.1)(logits, labels).backward()
    assert logits.grad[0, :, 0, 0].abs().min() > 0
    assert logits.grad[0, :, 1:].abs().max() == 0


def test_a_batch_without_labels_costs_nothing():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = PixelObjective("MASK", 255, least_share=0.1)(logits, torch.full((1, 4, 4), 255))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max() == 0


def test_few_labelled_pixels_do_not_weigh_as_much_as_many():
    """The sum of the losses grows with every labelled pixel; it is divided by a tenth of the pixels at least."""
    torch.manual_seed(0)
    logits, objective = torch.randn(1, 3, 20, 20), PixelObjective("MASK", 255, least_share=0.1)
    every = torch.randint(0, 3, (1, 20, 20))
    for count, divisor in ((4, 40), (40, 40), (41, 41), (400, 400)):
        labels = torch.full((1, 20, 20), 255).flatten()
        labels[:count] = every.flatten()[:count]
        chosen = logits.flatten(2)[..., :count, None], every.flatten()[None, :count, None]
        expected = objective(*chosen) * count / divisor
        torch.testing.assert_close(objective(logits, labels.view(1, 20, 20)), expected)


def test_memory_does_not_hold_a_target_of_every_class():
    """No tensor but the logits and their gradient has an entry for each class and pixel."""
    logits, labels = torch.randn(2, 40, 24, 24, requires_grad=True), torch.randint(0, 40, (2, 24, 24))
    made = []

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and result.numel() == logits.numel():
                made.append((function.overloadpacket.__name__, result.dtype))
            return result

    with Recorder():
        PixelObjective("MASK", 255, least_share=0.1)(logits, labels)
    assert [name for name, _ in made if name not in ("upsample_bilinear2d", "softplus")] == []


def test_unknown_treatment_is_named():
    with pytest.raises(InputError, match="IGNORED_PIXELS: 'SKIP' is not allowed; use MASK or NEGATIVE"):
        PixelObjective("SKIP", 255, least_share=0.1)
