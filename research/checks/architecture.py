"""The text of docs/architecture.md, and its picture.

The layers come from the import contract in pyproject.toml. The description of each module comes from its docstring.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "sgovss"
PICTURE = ROOT / "docs" / "pictures" / "layers.png"

INTRODUCTION = """\
# Architecture

Written by `python -m research.checks.pages`. The layers come from the import contract in `pyproject.toml`, which
`make test` checks. The description of each module is the first paragraph of its docstring.

![The layers of the package, from the commands at the top to the errors at the bottom](pictures/layers.png)

A module imports only from its own layer's package and from layers below. `research/` holds what maintainers run; it
imports `sgovss` and is not part of the wheel. `tests/` mirrors the package.

## Where do I change X?

| I want to ... | look at |
|---|---|
| add a dataset | a YAML file like those in `datasets/`; no code |
| add a label or archive format to the preparation | `sgovss/data/raw_labels.py`, `sgovss/data/archives.py` |
| use another image encoder | `MODEL.CLIP.NAME`; for a new architecture `sgovss/modeling/image_encoder.py` |
| read CLIP weights in another layout or format | `sgovss/modeling/clip_layouts.py`, `sgovss/modeling/weights_file.py` |
| change the guidance by the frozen encoder | `sgovss/modeling/compensation.py` |
| change how text and image refine each other | `sgovss/modeling/bias_guidance.py` |
| change the decoder | `sgovss/modeling/decoder.py`; the loss is in `sgovss/modeling/objective.py` |
| add a config key | `sgovss/config.py`, `sgovss/config_rules.py`, `sgovss/config_changes.py`, then a `from_config` |
| add a metric or a column to the evaluation | `sgovss/evaluation/metrics.py`, `sgovss/evaluation/evaluator.py` |
| change what happens in a training step | `sgovss/engine/step.py`; between steps `sgovss/engine/hooks.py` |
| add an option to `segment` | `sgovss/mapping/options.py`, `sgovss/commands/segment.py` |
| add an output for rasters | `sgovss/rasters/finishing.py`, then `sgovss/rasters/scene.py` |
| add a subcommand | a module in `sgovss/commands/` and a line in its registry |

## Modules
"""

DESCRIPTIONS = {
    "commands": "the subcommands",
    "page": "the web page",
    "mapping": "one call, one run",
    "rasters": "rasters of any size",
    "export": "ONNX, torch.export",
    "inference": "images in, results out",
    "engine": "training, checkpoints",
    "evaluation": "metrics, pictures",
    "modeling": "the method",
    "data": "datasets as YAML",
    "synthetic": "drawn images",
    "word_choice": "words by labelled images",
    "words": "class names in text and files",
}


def layers() -> list[list[str]]:
    """Read the layers of the import contract, top layer first; each is a list of modules or packages."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = content["tool"]["importlinter"]["contracts"]
    contract = next(each for each in contracts if each["type"] == "layers")
    return [[name.strip() for name in re.split("[:|]", layer)] for layer in contract["layers"]]


def summary(path: Path) -> str:
    """Return the first paragraph of a module's docstring, on one line."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split())


def page() -> str:
    """Return the text of the page."""
    parts = [INTRODUCTION]
    for layer in layers():
        for name in layer:
            folder = PACKAGE / name
            if folder.is_dir():
                parts.append(f"### {name}/\n\n{summary(folder / '__init__.py')}\n\n{_table(folder)}\n")
    ground = [name for layer in layers() for name in layer if not (PACKAGE / name).is_dir()]
    rows = "\n".join(f"| `{name}.py` | {_cell(PACKAGE / f'{name}.py')} |" for name in sorted(ground))
    parts.append(f"### Modules that all layers may use\n\n| module | |\n|---|---|\n{rows}\n")
    return "\n".join(parts)


def _table(folder: Path) -> str:
    files = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
    rows = "\n".join(f"| `{path.name}` | {_cell(path)} |" for path in files)
    return f"| module | |\n|---|---|\n{rows}"


def _cell(path: Path) -> str:
    return summary(path).replace("|", "\\|")


def draw(path: Path) -> None:
    """Draw the layers as a stack of boxes, top layer first."""
    stack = layers()
    figure = Figure(figsize=(8.2, 0.72 * len(stack) + 0.4), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=(0, 1), ylim=(0, len(stack)))
    axes.set_axis_off()
    for number, layer in enumerate(stack):
        bottom = len(stack) - 1 - number
        packages = [name for name in layer if (PACKAGE / name).is_dir()]
        boxes = packages or ["  ".join(f"{name}.py" for name in sorted(layer))]
        width = 0.98 / len(boxes)
        for place, name in enumerate(boxes):
            color = "#dbe7f5" if packages else "#eeeeee"
            shape = FancyBboxPatch(
                (0.01 + place * width, bottom + 0.14), width - 0.02, 0.66,
                boxstyle="round,pad=0,rounding_size=0.02", facecolor=color, edgecolor="#5a6b7d",
            )  # fmt: skip
            axes.add_patch(shape)
            middle = 0.01 + place * width + (width - 0.02) / 2
            if packages:
                axes.text(middle, bottom + 0.58, f"{name}/", ha="center", va="center", fontsize=11, weight="bold")
                axes.text(middle, bottom + 0.31, DESCRIPTIONS[name], ha="center", va="center", fontsize=9)
            else:
                axes.text(middle, bottom + 0.47, textwrap.fill(name, 96), ha="center", va="center", fontsize=7.5)
    figure.savefig(path, format="png")
