"""The frozen encoder guides training and is not part of inference or checkpoints."""

from __future__ import annotations

import torch

from tests.modeling.conftest import make_batch, train_steps


def test_frozen_encoder_gets_no_gradient_and_does_not_change(model, vocabulary):
    before = {name: value.clone() for name, value in model.frozen_encoder.state_dict().items()}
    tuned = {name: value.clone() for name, value in model.image_encoder.state_dict().items()}
    train_steps(model, make_batch(vocabulary), steps=3)
    assert all(parameter.grad is None for parameter in model.frozen_encoder.parameters())
    after = model.frozen_encoder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert any(not torch.equal(tuned[name], value) for name, value in model.image_encoder.state_dict().items())


def test_frozen_encoder_is_absent_from_the_state_dict(model):
    assert not [key for key in model.state_dict() if "frozen" in key]
    model.load_state_dict(model.state_dict(), strict=True)


def test_frozen_encoder_does_not_run_at_inference(model, vocabulary):
    def modules_that_ran() -> set[str]:
        ran = set()
        handles = [
            module.register_forward_hook(lambda *_, name=name: ran.add(name)) for name, module in model.named_modules()
        ]
        model(make_batch(vocabulary))
        for handle in handles:
            handle.remove()
        return ran

    trained = modules_that_ran()
    model.eval()
    segmented = modules_that_ran()
    assert len([name for name in trained if name.startswith("frozen_encoder")]) > 10
    assert [name for name in segmented if name.startswith(("frozen_encoder", "compensation"))] == []
    assert len(segmented) < len(trained)


def test_a_model_without_compensation_has_no_frozen_encoder(encoder, embedder, model):
    plain = type(model)(
        image_encoder=encoder,
        text_embedder=embedder,
        head=model.head,
        objective=model.objective,
        compensation=None,
        view=model.view,
        pixel_mean=[0.0] * 3,
        pixel_std=[1.0] * 3,
    )
    assert plain.frozen_encoder is None
    assert set(plain.state_dict()) == set(model.state_dict())
