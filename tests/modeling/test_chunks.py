"""Functions on chunks of classes: equal results, bounded chunks, no copies of whole tensors."""

from __future__ import annotations

import pytest
import torch

from sgovss.modeling.chunks import chunk_size, map_chunks, update_chunks

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@torch.no_grad()
def test_the_bound_depends_on_the_device():
    assert chunk_size(1000, 2**20, CPU) == 4
    assert chunk_size(1000, 2**20, CUDA) == 128
    assert chunk_size(1000, 2**20, torch.device("meta")) == 4
    assert chunk_size(3, 2**20, CPU) == 3
    assert chunk_size(1000, 2**30, CPU) == 1


def test_all_classes_at_once_with_gradients_and_in_programs(monkeypatch):
    assert chunk_size(1000, 2**30, CPU) == 1000
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    with torch.no_grad():
        assert chunk_size(1000, 2**30, CPU) == 1000


@pytest.mark.parametrize("size", [1, 3, 7])
def test_an_update_works_in_place_unless_it_is_of_all_classes(size):
    x = torch.randn(2, 7, 5)
    expected, widths = x + 1, []

    def function(part):
        widths.append(part.shape[1])
        return part + 1

    updated = update_chunks(function, x, size)
    assert torch.equal(updated, expected)
    assert (updated is x) == (size < 7)
    assert max(widths) == size and sum(widths) == 7


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_mapped_results_are_joined_in_their_memory_format(size, memory_format):
    x = torch.randn(14, 6, 5, 4).to(memory_format=memory_format).unflatten(0, (2, 7))

    def function(part, none):
        assert none is None
        maps = part.flatten(0, 1).mul(2).contiguous(memory_format=memory_format)
        return maps.unflatten(0, part.shape[:2]), None, part.sum((2, 3, 4))

    doubled, nothing, total = map_chunks(function, size, x, None)
    assert nothing is None
    assert torch.equal(doubled, 2 * x)
    torch.testing.assert_close(total, x.sum((2, 3, 4)))
    assert doubled.flatten(0, 1).is_contiguous(memory_format=memory_format)
