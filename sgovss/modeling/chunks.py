"""Run a function over chunks of classes, so that the memory for intermediate results does not grow with their number.

In all functions the classes lie along axis 1, and the result for a class does not depend on the other classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import torch

_Results = TypeVar("_Results", bound=tuple[torch.Tensor | None, ...])

_MOST_ELEMENTS = {"cpu": 2**22, "cuda": 2**27}
"""Elements of the largest tensor inside a chunk. On a CPU it should not exceed the caches by much; a GPU needs large
chunks to be busy, and 2**27 elements are 0.5 GB in float32."""


def chunk_size(count: int, elements: int, device: torch.device) -> int:
    """Number of classes to process at a time.

    Args:
        count: number of classes.
        elements: elements per class of the largest tensor that the function makes.
        device: where it runs.

    Returns:
        1 to ``count``. It is ``count`` while gradients are recorded, because all tensors are kept then, and while the
        model is compiled or exported, because the program would contain the number of chunks as a constant.
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return count
    return min(count, max(1, _MOST_ELEMENTS.get(device.type, _MOST_ELEMENTS["cpu"]) // elements))


def update_chunks(function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, size: int) -> torch.Tensor:
    """Replace x by ``function(x)``, in place if there is more than one chunk.

    Args:
        function: (B, t, ...) -> the same shape, for any number t of classes.
        x: (B, T, ...); its content is lost.
        size: classes per chunk, as :func:`chunk_size` returns it.

    Returns:
        (B, T, ...).
    """
    if size == x.shape[1]:
        return function(x)
    for part in x.split(size, 1):
        part.copy_(function(part))
    return x


def map_chunks(function: Callable[..., _Results], size: int, *inputs: torch.Tensor | None) -> _Results:
    """Call ``function(*inputs)`` chunk by chunk and join its results.

    Args:
        function: takes the inputs with any number t of classes, returns tensors (B, t, ...) or None.
        size: classes per chunk, as :func:`chunk_size` returns it.
        inputs: tensors (B, T, ...) or None, which is passed on.

    Returns:
        The results for all T classes. Each chunk is copied to its place as soon as it is computed, so memory holds no
        result twice.
    """
    count = next(x.shape[1] for x in inputs if x is not None)
    if size == count:
        return function(*inputs)  # without slices, which an exported program cannot have of an unknown size
    joined: list[torch.Tensor | None] = []
    for start in range(0, count, size):
        chunk = slice(start, start + size)
        results = function(*(None if x is None else x[:, chunk] for x in inputs))
        joined = joined or [None if result is None else _with_classes(result, count) for result in results]
        for whole, result in zip(joined, results, strict=True):
            if whole is not None and result is not None:
                whole[:, chunk] = result
    return cast(_Results, tuple(joined))


def _with_classes(x: torch.Tensor, count: int) -> torch.Tensor:
    """An uninitialised tensor like x (B, t, ...), but with ``count`` classes, in the memory format of x."""
    images, _, *shape = x.shape
    channels_last = x.ndim == 5 and x.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    whole = torch.empty((images * count, *shape), dtype=x.dtype, device=x.device, memory_format=memory_format)
    return whole.unflatten(0, (images, count))
