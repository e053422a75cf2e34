"""Model folders of ``sgovss convert``: of a checkpoint of sgovss, or of published CLIP weights."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from sgovss import paths
from sgovss.commands.convert_clip import convert_file
from sgovss.errors import InputError
from sgovss.hub import CONFIG, WEIGHTS, local_path
from sgovss.inference.predictor import Predictor
from sgovss.modeling.checkpoint import is_checkpoint

_ON_CPU = ("MODEL.DEVICE", "cpu", "TEST.PRECISION", "float32")
_OF_CLIP = ("config_file", "model", "activation", "prefix", "trust_pickle")
_OF_FILES = ("half", "image_size")


def convert_folder(arguments: argparse.Namespace) -> str:
    """Write a model folder; returns a report to print.

    Raises:
        InputError: the weights cannot be read, an option does not apply to them, or there is a model in the folder.
    """
    output = Path(arguments.output)
    if (output / WEIGHTS).exists() and not arguments.overwrite:
        raise InputError(f"--output: {output} has a model already; give another name or --overwrite")
    _expect_none(arguments, _OF_FILES, "belongs to an --output that ends in .safetensors")
    source = local_path(arguments.weights)
    if not (paths.is_file(source / CONFIG) or is_checkpoint(source)):
        return _from_clip(arguments, output)
    _expect_none(arguments, _OF_CLIP, f"belongs to CLIP weights, and {arguments.weights} is a model of sgovss")
    predictor = Predictor(None, weights=source, options=_ON_CPU)
    return _write(predictor, arguments, output, f"{arguments.weights}: a model of sgovss")


def _from_clip(arguments: argparse.Namespace, output: Path) -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "clip.safetensors")
        converted = convert_file(arguments, file)
        options = (
            "MODEL.CLIP.NAME",
            converted.metadata["model"],
            "MODEL.CLIP.WEIGHTS",
            str(file),
            "MODEL.WEIGHTS",
            "",
            *_ON_CPU,
        )
        predictor = Predictor(arguments.config_file or "base.yaml", options=options)
        return _write(predictor, arguments, output, converted.source)


def _write(predictor: Predictor, arguments: argparse.Namespace, output: Path, source: str) -> str:
    predictor.save_pretrained(output, arguments.licence, arguments.scores)
    use = f'use it with --config-file {output}, MODEL.WEIGHTS {output} or Predictor.from_pretrained("{output}")'
    return f"{source}\nwrote {output}: {', '.join(sorted(path.name for path in output.iterdir()))}; {use}"


def _expect_none(arguments: argparse.Namespace, names: tuple[str, ...], why: str) -> None:
    given = next((name for name in names if getattr(arguments, name)), None)
    if given is not None:
        raise InputError(f"--{given.replace('_', '-')} {why}; leave it out")
