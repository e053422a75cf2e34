"""ONNX files of the image path. A file holds everything that inference needs except the weights of the text encoder."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from detectron2.config import CfgNode
from torch.export import ExportedProgram

from sgovss import paths
from sgovss.errors import InputError
from sgovss.export.image_path import INPUTS
from sgovss.fingerprint import fingerprint
from sgovss.modeling.meta_arch import SGOVSS
from sgovss.version import __version__

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from torch.onnx import ONNXProgram

OPSET = 25
"""The newest opset that both torch's exporter and onnxruntime support."""

_PREFIX = "sgovss."


def expect_packages(*names: str) -> None:
    """Raise an InputError if one of these packages is not installed."""
    if missing := [name for name in names if importlib.util.find_spec(name) is None]:
        raise InputError(f"ONNX needs Python 3.11 or newer and the package {missing[0]}: pip install 'sgovss[onnx]'")


def metadata_of(model: SGOVSS, cfg: CfgNode) -> dict[str, str]:
    """Make the metadata of an exported file.

    Args:
        model: the exported model.
        cfg: its config, which names the weights of the text encoder.

    Returns:
        version, CLIP model, templates, hash of the text encoder, size divisibility and config, as texts by name.
    """
    model.text_embedder.build()
    return {
        "version": __version__,
        "model": cfg.MODEL.CLIP.NAME,
        "templates": json.dumps(model.text_embedder.templates),
        "text_encoder_sha256": fingerprint(model.text_embedder),
        "size_divisibility": str(model.image_encoder.size_divisibility),
        "config": cfg.dump(),
    }


def write_onnx(program: ExportedProgram, metadata: Mapping[str, str], path: Path) -> None:
    """Write the program of :func:`sgovss.export.image_path.trace` as one ONNX file."""
    text = (
        "images: RGB in 0..255, any size. embeddings: of names and synonyms, L2-normalised, class after class. "
        "starts: row of the name of each class. scores: 0..1, of the best name or synonym of each class."
    )
    named = {_PREFIX + key: value for key, value in metadata.items()}
    save_onnx(to_onnx(program, INPUTS, OPSET), text, named, path)


def to_onnx(program: ExportedProgram, inputs: Mapping[str, Mapping[int, str]], opset: int) -> ONNXProgram:
    """Translate a program whose output are scores.

    Args:
        program: an image path.
        inputs: for each input, in order, the names of its axes of variable size.
        opset: version of ONNX's operators.
    """
    average = torch.ops.aten.adaptive_avg_pool2d.default
    exported = torch.onnx.export(
        program,
        input_names=list(inputs),
        output_names=["scores"],
        dynamic_shapes=dict(inputs),
        opset_version=opset,
        custom_translation_table={average: _adaptive_average},
        # onnxruntime optimises better when it loads the file.
        optimize=False,
        verbose=False,
    )
    assert exported is not None
    return exported


def save_onnx(exported: ONNXProgram, text: str, metadata: Mapping[str, str], path: Path) -> None:
    """Write one ONNX file with a description and metadata."""
    exported.model.doc_string = text
    exported.model.metadata_props.update(metadata)
    exported.save(path, external_data=False)


def onnx_session(path: Path) -> InferenceSession:
    """Open an ONNX file with onnxruntime, on the fastest device that it supports.

    Raises:
        InputError: onnxruntime cannot read the file.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors; its warnings are about constants that are computed at each run
    available = onnxruntime.get_available_providers()
    providers = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in available]
    try:
        return onnxruntime.InferenceSession(path, options, providers)
    except Exception as error:  # onnxruntime raises many types for damaged files
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path}: onnxruntime cannot read this as an ONNX model ({reason}); export it again"
        ) from error


class OnnxImagePath:
    """Runs an ONNX file of the image path with onnxruntime. Inputs and output are those of :class:`ImagePath`, on CPU.

    Args:
        path: written by :func:`write_onnx`.

    Attributes:
        path: path of the file.
        metadata: see :func:`metadata_of`.

    Raises:
        InputError: the file does not exist, is not an ONNX model, or was not written by sgovss; or onnxruntime is not
            installed.
    """

    def __init__(self, path: str | Path) -> None:
        expect_packages("onnxruntime")
        self.path = Path(path)
        if not paths.is_file(path):
            raise InputError(f"{path}: no such file; give an ONNX file that 'sgovss export' wrote")
        self._session = onnx_session(self.path)
        found = self._session.get_modelmeta().custom_metadata_map
        self.metadata = {key.removeprefix(_PREFIX): value for key, value in found.items() if key.startswith(_PREFIX)}
        if "config" not in self.metadata:
            raise InputError(f"{path}: an ONNX model, but not one that 'sgovss export' wrote; give one that it wrote")

    def __call__(self, images: torch.Tensor, embeddings: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, H, W), embeddings (N, D), starts (T,) -> scores (B, T, H, W); see :meth:`ImagePath.forward`."""
        tensors = (images, embeddings, starts)
        arrays = {name: np.ascontiguousarray(tensor) for name, tensor in zip(INPUTS, tensors, strict=True)}
        return torch.from_numpy(self._session.run(None, arrays)[0])


def _adaptive_average(maps, size):
    """Compute F.adaptive_avg_pool2d as two matrix products, because ONNX has no operator for it.

    Args:
        maps: ONNX value (B, C, H, W).
        size: two ONNX values or numbers, h and w.

    Returns:
        ONNX value (B, C, h, w).
    """
    from onnxscript import opset18 as op

    zero, one, axes = op.Constant(value_int=0), op.Constant(value_int=1), op.Constant(value_ints=[1])
    for axis, count in zip((2, 3), size, strict=True):
        count, pixels = op.Reshape(count, axes), op.Shape(maps, start=axis, end=axis + 1)
        cell = op.Range(zero, op.Squeeze(count), one)
        pixel = op.Unsqueeze(op.Range(zero, op.Squeeze(pixels), one), axes)
        # An output cell averages the pixels from its start, rounded down, to its end, rounded up.
        begin = op.Div(op.Mul(cell, pixels), count)
        end = op.Div(op.Sub(op.Add(op.Mul(op.Add(cell, one), pixels), count), one), count)
        inside = op.And(op.GreaterOrEqual(pixel, begin), op.Less(pixel, end))
        weights = op.Div(op.CastLike(inside, maps), op.CastLike(op.Sub(end, begin), maps))
        maps = op.MatMul(maps, weights) if axis == 3 else op.MatMul(op.Transpose(weights, perm=[1, 0]), maps)
    return maps
