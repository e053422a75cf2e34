"""What the trainer does with the config's rules of training: rates, decay, clipping, accumulation, processes."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from sgovss.config import load_config
from sgovss.engine.trainer import Trainer
from sgovss.modeling.layers import ZeroGate
from tests.engine.small_training import gradients, images, small_model, train_as_one_of_two, train_on, uneven_images

UNCLIPPED = ["SOLVER.CLIP_GRADIENTS.ENABLED", False]


def groups_of(model: nn.Module, **options: float) -> dict[str, dict[str, float]]:
    """The optimizer's settings of each parameter, by name."""
    items = [str(item) for key, value in options.items() for item in (key.replace("__", "."), value)]
    optimizer = Trainer.build_optimizer(load_config("sgovss_tiny.yaml", items), model)
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {names[parameter]: group for group in optimizer.param_groups for parameter in group["params"]}


@pytest.mark.parametrize("kind", ["convnext", "vit"])
def test_the_image_encoder_has_its_own_learning_rate(kind):
    groups = groups_of(small_model(kind), SOLVER__BASE_LR=0.5, MODEL__CLIP__LR_MULTIPLIER=0.25)
    rates = {
        part: {g["lr"] for name, g in groups.items() if name.startswith(part)} for part in ("image_encoder", "head")
    }
    assert rates == {"image_encoder": {0.125}, "head": {0.5}}


@pytest.mark.parametrize("kind", ["convnext", "vit"])
def test_weights_decay_but_not_gates_norms_biases_embeddings_and_queries(kind):
    model = small_model(kind).requires_grad_(True)
    decays = {name: group["weight_decay"] for name, group in groups_of(model, SOLVER__WEIGHT_DECAY=0.5).items()}
    kept = {"head.log_scale", "head.logit_bias", "head.refinement.bias.queries"}
    if kind == "vit":
        kept |= {f"image_encoder.tower.{name}_embedding" for name in ("class", "positional")}
    decaying = set()
    for path, module in model.named_modules():
        own = {f"{path}.{name}" for name, _ in module.named_parameters(recurse=False)}
        if isinstance(module, ZeroGate | nn.LayerNorm):
            kept |= own
        elif isinstance(module, nn.Linear | nn.Conv2d):
            decaying.add(f"{path}.weight")
            kept |= own - {f"{path}.weight"}
    decaying &= decays.keys()
    assert len(kept & decays.keys()) > 50 and len(decaying) > 50
    assert sorted(name for name in kept & decays.keys() if decays[name]) == []
    assert {decays[name] for name in decaying} == {0.5}


def total_norm(parts: dict[str, torch.Tensor]) -> float:
    return torch.cat([part.flatten() for part in parts.values()]).norm().item()


def test_the_gradient_is_shortened_to_the_bound(tmp_path):
    free, bound = (
        gradients(train_on([images(1)], tmp_path, options))
        for options in (UNCLIPPED, ["SOLVER.CLIP_GRADIENTS.CLIP_VALUE", 0.001])
    )
    assert total_norm(free) > 0.1
    assert total_norm(bound) == pytest.approx(0.001, rel=1e-3)
    torch.testing.assert_close(bound, {name: part * 0.001 / total_norm(free) for name, part in free.items()})


def test_two_batches_of_one_image_are_a_step_of_two(tmp_path):
    pair = images(2)
    one_by_one = train_on([[pair[0]], [pair[1]]], tmp_path / "twice", [*UNCLIPPED, "SOLVER.ACCUMULATE", 2])
    together = train_on([pair], tmp_path / "once", UNCLIPPED)
    torch.testing.assert_close(gradients(one_by_one), gradients(together), atol=1e-6, rtol=1e-3)
    assert losses_in(tmp_path / "twice") == pytest.approx(losses_in(tmp_path / "once"), rel=1e-4)


def losses_in(folder) -> dict[str, float]:
    """The losses of the first step, from metrics.json."""
    line = json.loads((folder / "metrics.json").read_text().splitlines()[0])
    return {name: value for name, value in line.items() if "loss" in name}


def test_two_processes_with_uneven_labels_make_the_step_of_one(tmp_path):
    """DistributedDataParallel averages the gradients, though the images differ in what they contribute."""
    alone = train_on([uneven_images()], tmp_path / "alone", UNCLIPPED)
    # Forked, because spawned processes import everything again.
    torch.multiprocessing.start_processes(train_as_one_of_two, (str(tmp_path),), nprocs=2, start_method="fork")
    shared = torch.load(tmp_path / "grads.pt")
    torch.testing.assert_close(shared, gradients(alone), atol=1e-6, rtol=1e-3)
    losses = losses_in(tmp_path)
    assert losses == pytest.approx(losses_in(tmp_path / "alone"), rel=1e-4)
    assert losses["loss_pixel"] > 0 and losses["loss_gcd"] > 0
