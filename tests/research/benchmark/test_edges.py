"""The table of smoothing along edges."""

from types import SimpleNamespace

import pytest
import torch

from research.benchmark import edges


def test_what_is_compared():
    generator = torch.Generator().manual_seed(0)
    maps, images = torch.rand(1, 3, 20, 24, generator=generator), torch.rand(1, 3, 80, 96, generator=generator) * 255
    found = {kind: smooth(maps, images) for kind, smooth in edges.smoothings().items()}
    assert (found["none"] == maps).all()
    assert found["plain means"].std() < found["edges"].std() < maps.std()


@pytest.mark.parametrize(("height", "width"), [(64, 96), (60, 70), (33, 32)])
def test_images_are_padded_to_steps_of_the_model(height, width):
    image = torch.rand(3, height, width)
    padded = edges._padded(image, 32)
    assert padded.shape[-2] % 32 == 0 and padded.shape[-1] % 32 == 0
    assert (padded[0, :, :height, :width] == image).all()


def test_the_table_has_gain_and_cost(monkeypatch, capsys):
    def evaluate(model, cfg, name, every):
        gains = {kind: float(i) for i, kind in enumerate(edges.smoothings())}
        return {kind: {"mIoU": 20 + gain, "cost": gain / 100 * len(name)} for kind, gain in gains.items()}

    monkeypatch.setattr(edges, "evaluate", evaluate)
    monkeypatch.setattr(edges, "Predictor", lambda cfg, weights: SimpleNamespace(model=None))
    args = SimpleNamespace(
        config_file="sgovss_tiny.yaml", opts=[], weights=None, datasets=["a", "bb"], every=1, json=None
    )
    edges.compare_smoothing(args)
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| edges  "))
    assert [cell.strip() for cell in line.strip("|").split("|")] == ["edges", "2.0%", "21.0 (+1.0)", "21.0 (+1.0)"]
