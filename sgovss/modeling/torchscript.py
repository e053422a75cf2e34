"""Reading of the weights in a TorchScript archive, the format of OpenAI's CLIP models, without running its code.

``torch.jit.load`` would run the code in the archive, which could write to any file.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

_DTYPES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "ShortStorage": torch.int16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "BoolStorage": torch.bool,
}


def read_torchscript(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of all modules in an archive.

    Returns:
        Name in ``state_dict()`` -> tensor on the CPU.

    Raises:
        pickle.UnpicklingError: the archive holds other objects than modules with tensors and plain values.
        Exception: the archive is damaged; the type depends on the damage.
    """
    with zipfile.ZipFile(path) as archive:
        folder = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
        with archive.open(f"{folder}data.pkl") as file:
            content = _Reader(file, archive, folder).load()
    if not isinstance(content, _Part):
        raise pickle.UnpicklingError("there is no module in it")
    return dict(_tensors(content))


class _Part:
    """The attributes of a module of any class, without its methods."""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("a module has its own code to restore it")
        vars(self).update(state)


class _Reader(pickle.Unpickler):
    """Unpickles only modules, as :class:`_Part`, tensors and plain values."""

    def __init__(self, file: Any, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(file)
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return _Part
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch.jit._pickle":  # functions that restore the types of lists and empty values
            return _value
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise pickle.UnpicklingError(f"it contains a {module}.{name}, which is not a weight")

    def persistent_load(self, pid: Any) -> torch.Tensor:
        """The content of a storage as a tensor (N,)."""
        _, dtype, key, _, _ = pid
        content = self._archive.read(f"{self._folder}data/{key}")
        return torch.frombuffer(bytearray(content), dtype=dtype) if content else torch.empty(0, dtype=dtype)


def _tensor(
    storage: torch.Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> torch.Tensor:
    return torch.as_strided(storage, size, stride, offset)


def _value(value: Any, *_: Any) -> Any:
    return value


def _tensors(part: _Part, prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    for name, value in vars(part).items():
        if isinstance(value, torch.Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, _Part):
            yield from _tensors(value, f"{prefix}{name}.")
