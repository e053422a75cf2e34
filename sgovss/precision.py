"""Number formats that a model computes in."""

from __future__ import annotations

import contextlib

import torch
from torch import nn

from sgovss.errors import InputError

AUTO = "auto"
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager:
    """The autocast context of a precision; float32 casts nothing.

    Raises:
        InputError: an unknown precision, or float16 without CUDA.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision '{precision}' is not one of {', '.join(PRECISIONS)}")
    if precision == "float16" and device.type != "cuda":
        raise InputError("SOLVER.AMP.DTYPE: float16 needs a CUDA device; use bfloat16")
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.amp.autocast(device.type, dtype=PRECISIONS[precision])


def fast_precision(device: torch.device) -> str:
    """``bfloat16`` where the device computes in it, else ``float32``.

    A processor without bfloat16 instructions only imitates it, slower than float32.
    """
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    # Younger than the oldest torch that sgovss takes.
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    native = any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return "bfloat16" if device.type == "cpu" and native else "float32"


def cast_weights(module: nn.Module, precision: str) -> None:
    """Cast, in place, the weights that autocast would cast anew at every call; its results stay the same, bit by bit.

    For inference only: what is lost of the weights is lost.
    """
    for each in module.modules():
        if isinstance(each, nn.Linear | nn.Conv2d):
            each.to(PRECISIONS[precision])
