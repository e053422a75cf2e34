"""List the models that can be used: embedded, in the cache of the hub, and published CLIP weights.

examples:
  sgovss models
  sgovss models --json

A value of the column weights goes into MODEL.CLIP.WEIGHTS, with the architecture in MODEL.CLIP.NAME; models of sgovss
in the cache go into MODEL.WEIGHTS or --config-file. Nothing is downloaded. "verified" names what tests of sgovss
verify, and nothing more; docs/models.md explains it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from tabulate import tabulate

from sgovss.errors import command
from sgovss.modeling.known_models import UNKNOWN, ListedModel, known_models, list_models

_TITLES = {"embedded": "Embedded", "cache": "In the cache", "published": "Published CLIP weights, to be fetched"}
_SHOWN = 2  # names of weights in a row
_WIDTHS = [22, 20, 34, 22, 12, 26, 25]


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``sgovss models``; returns its exit status."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="sgovss models",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    arguments = parser.parse_args(argv)
    models = list_models()
    if arguments.json:
        content = {"models": [model._asdict() for model in models]}
        checks = {name: check.model_dump() for name, check in known_models().checks.items()}
        print(json.dumps({**content, "verified": checks}, indent=2))
        return 0
    for where, title in _TITLES.items():
        rows = [_row(model) for model in models if model.where == where]
        print(f"{title}\n\n{_table(rows) if rows else 'none'}\n")
    print("Verified by tests of sgovss:")
    for name, check in known_models().checks.items():
        print(f"  {name}: {check.what}")
    return 0


def _row(model: ListedModel) -> dict[str, str]:
    names, rest = model.weights[:_SHOWN], len(model.weights) - _SHOWN
    gsd, sizes = model.ground_sample_distance, ((model.parameters, "M values"), (model.megabytes, "MB"))
    return {
        "model": model.name,
        "architecture": model.architecture,
        "weights": ", ".join(names) + (f" and {rest} more (--json)" if rest > 0 else ""),
        "licence": model.licence,
        "ground sample distance": UNKNOWN if gsd is None else f"{gsd:g} m",
        "size": ", ".join(f"{value:,.1f} {unit}" for value, unit in sizes if value is not None),
        "verified": ", ".join(model.verified) or "nothing",
    }


def _table(rows: list[dict[str, str]]) -> str:
    return tabulate(rows, headers="keys", maxcolwidths=_WIDTHS, disable_numparse=True)
