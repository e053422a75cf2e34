"""Reading of weights files of any format. The format is told by the content, since files get renamed."""

from __future__ import annotations

import enum
import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from sgovss import paths
from sgovss.errors import InputError
from sgovss.modeling.torchscript import read_torchscript


class Format(enum.Enum):
    """A file format; the value describes a file of it."""

    TORCH = "a file of torch.save"
    PICKLE = "a pickle or a file of an old version of torch.save"
    TORCHSCRIPT = "a TorchScript archive"
    SAFETENSORS = "a safetensors file"
    INDEX = "the index of a model in several files"
    JSON = "a JSON file without weights"
    POINTER = "the pointer of Git LFS to a file"
    PAGE = "a web page"
    ARCHIVE = "an archive of other files"
    NUMPY = "a NumPy file"
    HDF5 = "an HDF5 file"
    GGUF = "a GGUF file"
    ONNX = "an ONNX file"
    TEXT = "a text file"
    EMPTY = "an empty file"
    UNKNOWN = "a file of unknown format"


_REMEDIES = {
    Format.JSON: "give the weights file beside it",
    Format.POINTER: "fetch the file itself with 'git lfs pull', or download it again",
    Format.PAGE: "download the file itself again; it may need a login, or the address of the file instead of its page",
    Format.ARCHIVE: "unpack it and give the weights file in it",
    Format.TEXT: "give the weights, or download them again; a config is given by --config-file",
    Format.EMPTY: "copy it again",
    Format.ONNX: "give the checkpoint that it was exported from, or use it with 'sgovss segment --onnx'",
}
_OTHER_REMEDY = "give a safetensors file, a file of torch.save, or one of OpenAI's archives; or copy it again"

_FIRST_BYTES = {
    b"\x80": Format.PICKLE,
    b"version https://git-lfs": Format.POINTER,
    b"<": Format.PAGE,
    b"\x1f\x8b": Format.ARCHIVE,  # gzip
    b"BZh": Format.ARCHIVE,
    b"\xfd7zXZ": Format.ARCHIVE,
    b"7z\xbc\xaf": Format.ARCHIVE,
    b"Rar!": Format.ARCHIVE,
    b"\x28\xb5\x2f\xfd": Format.ARCHIVE,  # zstandard
    b"\x93NUMPY": Format.NUMPY,
    b"\x89HDF": Format.HDF5,
    b"GGUF": Format.GGUF,
}
_ONNX = re.compile(rb"\x08[\x01-\x20](\x12|:)")  # the version of the format, then the producer or the graph
_CONTROL = re.compile(rb"[^\t\n\f\r\x20-\xff]")  # a byte that no text has
_LONGEST_HEADER = 100_000_000  # of a safetensors file, in bytes
_TAR = slice(257, 262)  # where a tar archive says "ustar"


def file_format(path: Path) -> Format:
    """The format of a file, by its content.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return Format.EMPTY
    if head.startswith(b"PK\x03\x04"):
        return _zip_format(path)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < _LONGEST_HEADER:
        return Format.SAFETENSORS
    if head[_TAR] == b"ustar":
        return Format.ARCHIVE
    if _ONNX.match(head):
        return Format.ONNX
    stripped = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if stripped[:1] in (b"{", b"["):
        return Format.INDEX if _shards(path) else Format.JSON
    other = Format.UNKNOWN if _CONTROL.search(head) else Format.TEXT
    return next((found for first, found in _FIRST_BYTES.items() if stripped.startswith(first)), other)


def remedy_for(kind: Format) -> str:
    """What to do about a file of a format without weights, whatever it is given for; empty if that depends on it."""
    return _REMEDIES.get(kind, "")


def _zip_format(path: Path) -> Format:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # damage anywhere in the table of contents; reading the file tells
        return Format.TORCH
    if any(name.endswith("/constants.pkl") for name in names):
        return Format.TORCHSCRIPT
    if any(name.endswith("data.pkl") for name in names):
        return Format.TORCH
    return Format.NUMPY if names and all(name.endswith(".npy") for name in names) else Format.ARCHIVE


def read_content(path: Path, trusted: bool = False) -> Mapping[str, Any]:
    """Read a weights file.

    Args:
        path: the file.
        trusted: whether to unpickle Python objects in it, which can run any program.

    Returns:
        its content by name; empty if the file holds something else than names with values.

    Raises:
        InputError: the file is missing, damaged or of a format that is not read, has Python objects and is not
            trusted, is an index whose files are missing, or is a checkpoint of sgovss.
    """
    expect_file(path)
    try:
        kind = file_format(path)
        if kind is Format.INDEX:
            return _read_shards(path, trusted)
        content = _read(path, kind, trusted)
    except InputError:
        raise
    except pickle.UnpicklingError as error:
        if kind is Format.TORCHSCRIPT:
            raise InputError(
                f"{path}: a TorchScript archive of more than weights, or damaged; copy it again"
            ) from error
        raise InputError(
            f"{path}: damaged, or holds Python objects beside tensors, which are not read because they can run code; "
            "copy it again, get a file of weights only from its authors, or, if you trust them, give --trust-pickle "
            "to 'sgovss convert'"
        ) from error
    except Exception as error:  # a damaged file can raise many kinds of errors
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise InputError(f"{path}: cannot be read as weights ({reason}); it may be cut short: copy it again") from error
    if not isinstance(content, Mapping):
        return {}
    if content.get("kind") in ("training", "inference") and "config" in content:
        raise InputError(f"{path}: a checkpoint of sgovss, not CLIP weights; set MODEL.WEIGHTS to it")
    return content


def refuse_non_finite(state: Mapping[str, torch.Tensor], source: str) -> None:
    """Refuse weights with NaN or Inf, with which every output would be NaN or one class.

    Args:
        state: tensors by name.
        source: the file, and perhaps the key that names it, for the message.

    Raises:
        InputError: a tensor has such a value; the message gives the number of tensors and the first of them.
    """
    odd = [key for key, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if odd:
        raise InputError(
            f"{source}: {len(odd)} of {len(state)} tensors hold NaN or Inf, such as {odd[0]}; the training that wrote "
            "them failed, or the file is damaged: give an earlier checkpoint, or copy the file again"
        )


def _read(path: Path, kind: Format, trusted: bool) -> Any:
    if kind is Format.SAFETENSORS:
        return load_file(path)
    if kind is Format.TORCHSCRIPT:
        return read_torchscript(path)
    if kind in (Format.TORCH, Format.PICKLE):
        with path.open("rb") as file:  # by its path, torch would take a file for safetensors by the suffix
            return torch.load(file, map_location="cpu", weights_only=not trusted)
    raise InputError(f"{path}: {kind.value}, not weights of torch; {remedy_for(kind) or _OTHER_REMEDY}")


def _shards(path: Path) -> list[str]:
    """The files that the index of a model in several files names; empty if the file is no such index."""
    try:
        index = json.loads(path.read_text(encoding="utf-8-sig"))
        return sorted({str(name) for name in index["weight_map"].values()})
    except (ValueError, TypeError, LookupError, AttributeError):
        return []


def _read_shards(path: Path, trusted: bool) -> dict[str, Any]:
    shards = _shards(path)
    # Only files beside the index are read, wherever its names lead.
    missing = [name for name in shards if Path(name).name != name or not path.with_name(name).is_file()]
    if missing:
        raise InputError(
            f"{path}: the index of a model in {len(shards)} files, of which {len(missing)} are not beside it (first "
            f"{missing[0]}); fetch them too, or give the model in one file"
        )
    content: dict[str, Any] = {}
    for name in shards:
        content |= read_content(path.with_name(name), trusted)
    return content


def expect_file(path: Path) -> None:
    """Check that there is a file.

    Raises:
        InputError: there is none, or a folder.
    """
    if paths.is_folder(path):
        raise InputError(f"{path}: a folder; give the weights file in it{_files_in(path)}")
    if not paths.is_file(path):
        raise InputError(f"no file {path}; give a file of CLIP weights (.pt, .pth, .bin or .safetensors)")


def _files_in(folder: Path) -> str:
    known = (".safetensors", ".bin", ".pt", ".pth", ".index.json")
    names = sorted(path.name for path in folder.iterdir() if path.name.lower().endswith(known))
    return f" ({', '.join(names[:4])})" if names else ""
