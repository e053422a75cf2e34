"""Floating-point formats for training and inference."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch
from torch import nn

from sgovss.errors import InputError

AUTO = "auto"
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def check_precision(precision: str, device: torch.device) -> None:
    """Check that a precision can be used on a device.

    Raises:
        InputError: an unknown precision, or float16 without CUDA.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision '{precision}' is not one of {', '.join(PRECISIONS)}")
    if precision == "float16" and device.type != "cuda":
        raise InputError("SOLVER.AMP.DTYPE: float16 needs a CUDA device; use bfloat16")


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager:
    """Autocast context for ``bfloat16`` or ``float16``; a context without effect for ``float32``.

    Raises:
        InputError: see :func:`check_precision`.
    """
    check_precision(precision, device)
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.amp.autocast(device.type, dtype=PRECISIONS[precision])


def fast_precision(device: torch.device) -> str:
    """``bfloat16`` if the device supports it natively, else ``float32``.

    A processor without bfloat16 instructions emulates it, which is slower than float32.
    """
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    # The oldest supported torch does not have get_capabilities.
    query: Callable[[], dict[str, bool]] = getattr(torch.cpu, "get_capabilities", dict)
    capabilities = query()
    native = any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return "bfloat16" if device.type == "cpu" and native else "float32"


def cast_weights(module: nn.Module, precision: str) -> None:
    """Cast the weights that autocast would cast at every call, in place; the results are bit-identical.

    For inference only: training needs the digits that the weights lose.
    """
    for each in module.modules():
        if isinstance(each, nn.Linear | nn.Conv2d):
            each.to(PRECISIONS[precision])
