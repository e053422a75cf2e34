"""Cost of a model: number of parameters, floating-point operations including attention, and bytes moved."""

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
    """Count the parameters of each direct child of a model, and of the whole model.

    Returns:
        ``{name of the child: {"total": n, "trainable": n}}``, and ``"total"`` for the model.
    """
    counts = {name: _count(child.parameters()) for name, child in model.named_children()}
    counts["total"] = _count(model.parameters())
    return counts


def count_flops(model: nn.Module, inputs: tuple[Any, ...]) -> int:
    """Count the floating-point operations of one forward pass: two per multiply-add.

    Convolutions, matrix products and fused attention are counted. fvcore alone counts a multiply-add as one operation
    and does not count fused attention. Norms, activations and resizing are left out, as is usual.

    Args:
        model: any module.
        inputs: arguments of its ``forward``.
    """
    analysis = FlopCountAnalysis(model, inputs).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.tracer_warnings("none")
    analysis.clear_op_handles()
    analysis.set_op_handle(**_PRODUCTS)
    return 2 * int(analysis.total())


def count_bytes(compute: Callable[[], Any]) -> int:
    """Count the bytes that the operators of a computation read and write, without any caching between operators.

    Views and the allocation of empty tensors count as 0. Temporary buffers within an operator are not counted.

    Args:
        compute: runs the computation.
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
        # Allocation without initialisation neither reads nor writes memory.
        if not operator.is_view and not operator.name().startswith("aten::empty"):
            self.total += sum(
                each.numel() * each.element_size()
                for each in tree_leaves((args, kwargs, result))
                if isinstance(each, torch.Tensor)
            )
        return result


def _attention(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """Count the multiply-adds of queries (..., N, E) by keys (..., M, E), and of weights by values (..., M, V)."""
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
