"""Convert published CLIP weights to one safetensors file for MODEL.CLIP.WEIGHTS, or any model to a model folder.

examples:
  sgovss convert RemoteCLIP-ViT-B-32.pt --output weights/remoteclip.safetensors
  sgovss convert RemoteCLIP-ViT-B-32.pt --output models/remoteclip --licence apache-2.0
  sgovss convert output/mine/model_final.pth --output models/mine --scores output/mine
  sgovss convert epoch_20.pt --model ViT-L-14 --activation quick_gelu --output mine.safetensors
  sgovss convert --list

Reads what MODEL.CLIP.WEIGHTS reads: open_clip's state dicts and training checkpoints (RemoteCLIP, GeoRSCLIP, SkyCLIP),
OpenAI's archives and the layout of Hugging Face's transformers. The output file holds only the weights. Its metadata
names their source, and the activation and pixel statistics they were trained with, which sgovss then uses.

An --output without ending is a model folder: model.safetensors, config.yaml, a card (README.md) and a STAC item
(mlm.json), without pickle. --config-file and MODEL.WEIGHTS take it. Its source is a checkpoint of 'sgovss train',
another model folder or model of the hub, or CLIP weights, which give a model without fine-tuning.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path

import torch

from sgovss.commands.convert_clip import convert_file
from sgovss.commands.convert_folder import convert_folder
from sgovss.errors import InputError, command
from sgovss.modeling.known_weights import known_families


def convert(arguments: argparse.Namespace) -> str:
    """Read, check and write the weights; returns a report to print."""
    output = Path(arguments.output)
    if is_folder(arguments):
        return convert_folder(arguments)
    if output.suffix != ".safetensors":
        raise InputError(
            f"--output: {output} must end in .safetensors; for a model folder give a name without ending, or "
            "--format folder"
        )
    if output.exists() and not arguments.overwrite:
        raise InputError(f"--output: {output} exists already; give another name or --overwrite")
    for name in ("config_file", "licence", "scores"):
        if getattr(arguments, name):
            raise InputError(
                f"--{name.replace('_', '-')} belongs to a model folder; leave it out, or give --format folder"
            )
    converted = convert_file(arguments, output)
    return f"{converted.source}\n{_use(converted.metadata, output, arguments.half)}"


def is_folder(arguments: argparse.Namespace) -> bool:
    """Whether a model folder is asked for: by --format, else by the ending of --output."""
    return arguments.format == "folder" if arguments.format else not Path(arguments.output).suffix


def _use(metadata: dict[str, str], output: Path, half: bool) -> str:
    """The output file, and the config options that use it."""
    return (
        f"wrote {output} in {'half' if half else 'single'} precision; use it with\n"
        f"    MODEL.CLIP.NAME {metadata['model']} MODEL.CLIP.WEIGHTS {output}"
    )


def list_known() -> str:
    """Return a text that lists the published files whose architecture and activation are known by file name."""
    lines = []
    for family, facts in known_families().items():
        lines += [family, *textwrap.wrap(f"{facts.where}: {facts.layout}", initial_indent="  ", subsequent_indent="  ")]
        for entry in facts.entries:
            lines.append(f"  {', '.join(entry.files)}: {entry.model}, {entry.activation}, {entry.certainty}:")
            lines += textwrap.wrap(entry.why, initial_indent="      ", subsequent_indent="      ")
    lines += [
        "open_clip",
        "  every file in a folder with the name of a repository that open_clip lists (such as",
        "  vit_base_patch16_clip_224.openai), and every release file that it lists: as open_clip says",
    ]
    return "\n".join(lines)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``sgovss convert``; returns its exit status."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", nargs="?", help="the file to convert (.pt, .pth, .bin, .safetensors), or a model")
    parser.add_argument("--output", help="the file to write (.safetensors), or the model folder")
    parser.add_argument("--format", choices=("file", "folder"), help="default: a file if --output ends in "
                        ".safetensors, a folder if it has no ending")  # fmt: skip
    parser.add_argument("--model", help="open_clip's name of the architecture; default: by the file name, "
                        "see --list")  # fmt: skip
    parser.add_argument(
        "--activation",
        choices=("gelu", "quick_gelu"),
        help="activation the weights were trained with, if it is not known",
    )
    parser.add_argument("--image-size", type=int, metavar="PIXELS", help="resize the positional embedding to square "
                        "images of this side; only for other programs, sgovss resizes it itself")  # fmt: skip
    parser.add_argument("--prefix", help="what stands before the names of the weights, such as 'student.', if the file "
                        "has the weights of several models")  # fmt: skip
    parser.add_argument("--half", action="store_true", help="write half precision")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    parser.add_argument("--trust-pickle", action="store_true", help="read a file that holds other Python objects than "
                        "tensors; it can run any code, so use this only if you trust its authors")  # fmt: skip
    parser.add_argument(
        "--list", action="store_true", help="print the files whose architecture and activation are known by file name"
    )
    folder = parser.add_argument_group("model folders")
    folder.add_argument("--config-file", metavar="FILE", help="for CLIP weights: the config of the model, whose "
                        "architecture is that of the weights; default base.yaml")  # fmt: skip
    folder.add_argument("--licence", metavar="TEXT", help="licence of the model, for its card")
    folder.add_argument("--scores", type=Path, metavar="DIR", help="OUTPUT_DIR of an evaluation of these weights, for "
                        "the card")  # fmt: skip
    arguments = parser.parse_args(argv)
    if arguments.list:
        print(list_known())
        return 0
    if not arguments.weights or not arguments.output:
        parser.error("give a file of weights and --output")
    with torch.no_grad():
        print(convert(arguments))
    return 0
