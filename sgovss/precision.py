"""Floating-point formats for training and inference."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import nn

from sgovss.errors import InputError

AUTO = "auto"
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def check_precision(precision: str, device: torch.device, key: str = "precision") -> None:
    """Check that a precision can be used on a device.

    Args:
        precision: the name of the precision.
        device: the device to compute on.
        key: what the message starts with, such as a config key.

    Raises:
        InputError: an unknown precision, or float16 without CUDA.
    """
    if precision not in PRECISIONS:
        raise InputError(f"{key}: '{precision}' is no precision; give one of {', '.join(PRECISIONS)}")
    if precision == "float16" and device.type != "cuda":
        raise InputError(f"{key}: float16 needs a CUDA device; use bfloat16")


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager:
    """Autocast context for ``bfloat16`` or ``float16``; a context without effect for ``float32``.

    Raises:
        InputError: see :func:`check_precision`.
    """
    check_precision(precision, device)
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.amp.autocast(device.type, dtype=PRECISIONS[precision])


@contextlib.contextmanager
def cuda_kernels(device: torch.device, *, tf32: bool, benchmark: bool) -> Iterator[None]:
    """Context in which torch chooses its CUDA kernels as asked; without effect on other devices.

    torch's settings are global. They are restored at the end.

    Args:
        device: the device to compute on.
        tf32: compute float32 matrix products and convolutions in TF32 (10 bits of mantissa instead of 23), on a tensor
            core; otherwise in float32.
        benchmark: let cuDNN time its kernels for each new shape of a convolution's input and take the fastest.
    """
    if device.type != "cuda":
        yield
        return
    operators = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)  # type: ignore[attr-defined]
    before = [operator.fp32_precision for operator in operators]
    benchmarked = torch.backends.cudnn.benchmark
    try:
        for operator in operators:
            operator.fp32_precision = "tf32" if tf32 else "ieee"
        torch.backends.cudnn.benchmark = benchmark
        yield
    finally:
        for operator, precision in zip(operators, before, strict=True):
            operator.fp32_precision = precision
        torch.backends.cudnn.benchmark = benchmarked


def has_bfloat16(device: torch.device) -> bool:
    """Return whether a CUDA device computes in bfloat16 itself. Older ones emulate it, which is slower than float32."""
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)


def fast_precision(device: torch.device) -> str:
    """The fastest precision of a device: ``bfloat16`` if it has instructions for it, on older GPUs ``float16``.

    On a processor without such instructions it is ``float32``, because emulated bfloat16 is slower.
    """
    if device.type == "cuda":
        return "bfloat16" if has_bfloat16(device) else "float16"
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
