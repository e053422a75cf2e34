"""Counts of operations, parameters and bytes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sgovss.evaluation.cost import count_bytes, count_flops, count_parameters


class Attended(nn.Module):
    """A linear layer without bias, followed by attention with two heads."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 16, bias=False)
        self.fused = fused

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = F.gelu(self.linear(x)).view(1, 5, 2, 8).transpose(1, 2)
        if self.fused:
            return F.scaled_dot_product_attention(q, q, q)
        return (q @ q.transpose(-1, -2)).softmax(-1) @ q


@pytest.mark.parametrize("fused", [True, False])
def test_a_multiply_add_counts_as_two_and_fused_attention_is_counted(fused):
    linear, attention = 5 * 8 * 16, 2 * (2 * 5 * 5 * 8)
    assert count_flops(Attended(fused), (torch.zeros(1, 5, 8),)) == 2 * (linear + attention)


def test_convolutions_and_einsum():
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(3, 6, 3, padding=1, groups=3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.einsum("bdhw,btd->bthw", self.convolution(x), torch.ones(1, 7, 6))

    assert count_flops(Both(), (torch.zeros(1, 3, 10, 12),)) == 2 * (120 * 6 * 9 + 120 * 7 * 6)


def test_parameters_of_each_part():
    model = nn.ModuleDict({"frozen": nn.Linear(2, 3).requires_grad_(False), "learning": nn.Linear(3, 1)})
    assert count_parameters(model) == {
        "frozen": {"total": 9, "trainable": 0},
        "learning": {"total": 4, "trainable": 4},
        "total": {"total": 13, "trainable": 4},
    }


def test_bytes_that_operators_read_and_write_are_counted():
    x, layer = torch.zeros(5, 8), nn.Linear(8, 16)
    with torch.no_grad():
        assert count_bytes(lambda: x + 1) == 4 * (40 + 40)
        assert count_bytes(lambda: x.view(8, 5).t()) == 0
        assert count_bytes(lambda: torch.empty(1000)) == 0
        assert count_bytes(lambda: layer(x)) == 4 * (40 + 8 * 16 + 16 + 80)
        assert count_bytes(lambda: x.half() @ x.half().t()) == 2 * (4 * 40 + 2 * 40) + 2 * (40 + 40 + 25)
