"""All zero-shot figures of an image encoder, and the table that shows several encoders side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from research.pretraining.evaluation import DENSE_SETS, ZeroShot, banepa_iou, dense_iou, retrieval, scene_accuracy
from research.pretraining.manifests import RSICD_SCENES, UCM_SCENES
from research.pretraining.sources import RSICD, UCM
from sgovss.files import atomic_path

JSON_FILE, TABLE_FILE = "scorecard.json", "scorecard.md"

Card = dict[str, float]
"""Title of a figure -> per cent, or megabytes."""


def measure(weights: Path, zero_shot: ZeroShot, data: Path) -> Card:
    """Measure an image encoder: whole images, one view, several names for each class unless the title says otherwise.

    Raises:
        InputError: a set is not in the data folder.
    """
    card = {"size of the file, MB": weights.stat().st_size / 1e6}
    for dense in DENSE_SETS:
        for kind, names in (("", dense.several_names), (", plain names", dense.plain_names)):
            miou, per_class, count = dense_iou(zero_shot, data / dense.folder, names)
            title = f"{dense.title}, {count} images{kind}"
            card[f"{title}: mIoU"] = miou
            if not kind:
                found = zip(dense.plain_names.names, per_class, strict=True)
                card.update({f"{title}: IoU of {name}": iou for name, iou in found if iou is not None})
    for title, source, scenes in (("UC Merced, held-out fifth", UCM, UCM_SCENES), ("RSICD test", RSICD, RSICD_SCENES)):
        _, held_out = source.records(data)
        title = f"{title}, {len(held_out)} images"
        card[f"{title}: accuracy over {len(scenes)} scenes"] = scene_accuracy(
            zero_shot, held_out, list(scenes.values())
        )
        if source is RSICD:
            card[f"{title}: R@5 text to image"], card[f"{title}: R@5 image to text"] = retrieval(zero_shot, held_out)
    card["Banepa, lower half: IoU of buildings"], card["Banepa, lower half: IoU if all is building"] = banepa_iou(
        zero_shot, data
    )
    return {title: round(value, 1) for title, value in card.items()}


def write_scorecards(cards: Mapping[str, Card], output: Path, command: str) -> None:
    """Write the figures of encoders by name: one JSON file, and one Markdown table with a column for each.

    Raises:
        InputError: the folder cannot be written to.
    """
    with atomic_path(output / JSON_FILE) as path:
        path.write_text(json.dumps({"command": command, "figures": cards}, indent=1) + "\n", encoding="utf-8")
    with atomic_path(output / TABLE_FILE) as path:
        path.write_text(_table(cards), encoding="utf-8")


def _table(cards: Mapping[str, Card]) -> str:
    titles = dict.fromkeys(title for card in cards.values() for title in card)
    rows = [["zero-shot, %", *cards], ["---", *["--:"] * len(cards)]]
    rows += [[title, *(f"{card[title]:.1f}" if title in card else "-" for card in cards.values())] for title in titles]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
