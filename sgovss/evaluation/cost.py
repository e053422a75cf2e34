"""What a model costs, counted: parameters, floating-point operations with attention, and bytes moved."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from fvcore.nn import FlopCountAnalysis, jit_handles
from fvcore.nn.jit_handles import get_shape
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def count_parameters(model: nn.Module) -> dict[str, dict[str, int]]:
    """Parameters of each direct child of a model and in total: ``{"name": {"total": n, "trainable": n}}``."""
    counts = {name: _count(child.parameters()) for name, child in model.named_children()}
    counts["total"] = _count(model.parameters())
    return counts


def count_flops(model: nn.Module, inputs: tuple[Any, ...]) -> int:
    """Floating-point operations of one forward: twice the multiply-adds of convolutions and matrix products.

    fvcore counts a multiply-add as one, and does not see fused attention; here it is two, and attention counts as its
    two products. What is not a product (norms, activations, resizing) is left out, as is usual.
    """
    analysis = FlopCountAnalysis(model, inputs).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.tracer_warnings("none")
    analysis.clear_op_handles()
    analysis.set_op_handle(**_PRODUCTS)
    return 2 * int(analysis.total())


def count_bytes(compute: Callable[[], Any]) -> int:
    """Bytes that the operators of a computation read and write, as if nothing stayed in a cache between them.

    Views move nothing. What an operator moves within itself is not counted.
    """
    with _BytesMoved() as moved:
        compute()
    return moved.total


class _BytesMoved(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operator(*args, **(kwargs or {}))
        # Room that is made is neither read nor written.
        if not operator.is_view and not operator.name().startswith("aten::empty"):
            self.total += sum(
                each.numel() * each.element_size()
                for each in tree_leaves((args, kwargs, result))
                if isinstance(each, torch.Tensor)
            )
        return result


def _attention(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """Multiply-adds of queries (..., N, E) with keys (..., M, E), and of the weights with values (..., M, V)."""
    query, key, value = (get_shape(each) for each in inputs[:3])
    return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


_PRODUCTS = {
    "aten::_convolution": jit_handles.conv_flop_jit,
    "aten::addmm": jit_handles.addmm_flop_jit,
    "aten::bmm": jit_handles.bmm_flop_jit,
    "aten::einsum": jit_handles.einsum_flop_jit,
    "aten::linear": jit_handles.linear_flop_jit,
    "aten::matmul": jit_handles.matmul_flop_jit,
    "aten::mm": jit_handles.matmul_flop_jit,
    "aten::scaled_dot_product_attention": _attention,
}


def _count(parameters: Any) -> dict[str, int]:
    every = list(parameters)
    return {
        "total": sum(parameter.numel() for parameter in every),
        "trainable": sum(parameter.numel() for parameter in every if parameter.requires_grad),
    }
