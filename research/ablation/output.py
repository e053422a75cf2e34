"""The files that show an ablation: tables, curves and overlays."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from research.ablation.overlays import draw_overlays, is_generated
from research.ablation.protocol import Protocol
from research.ablation.report import curves, refresh_tables, tables
from research.ablation.study import Study
from sgovss.config import load_config
from sgovss.data import register_datasets
from sgovss.evaluation.pictures import draw_curves
from sgovss.files import atomic_path


def write_overlays(study: Study, folder: Path, image: int) -> None:
    """Write ``<task>_overlays.png`` for each task whose test images are synthetic. Other images may not be published.

    Args:
        study: the tasks, and the variants to show.
        folder: folder of the pictures.
        image: number of the test image.
    """
    for task in study.tasks:
        spec = study.protocol.tasks[task]
        options = study.protocol.run_options(task, study.variants[0], {})
        cfg = load_config(spec.config, [word for pair in options.items() for word in pair])
        register_datasets(cfg.DATASETS.SPECIFICATIONS)
        if is_generated(spec.shown):
            path = folder / f"{task}_overlays.png"
            draw_overlays(spec, cfg, study.models(task), image, path)
            print(f"overlays in {path}")


def write_report(study: Study, folder: Path) -> None:
    """Write ``tables.md`` with all variants, pictures of the curves, and the tables in ``<folder>.md``."""
    parts, protocol = ["# Tables"], study.protocol
    brief: dict[str, str] = {}
    for task in study.tasks:
        final, spec = study.final(task), protocol.tasks[task]
        if not any(final.values()):
            continue
        main, *aside = tables(protocol, task, final, brief=False).values()
        parts += [f"## {spec.title}", main]
        for each in aside:
            parts += ["Reported beside the table and not used for any choice:", each]
        brief |= tables(protocol, task, final, brief=True)
        _draw_curves(protocol, task, final, folder)
    path = folder / "tables.md"
    _replace(path, "\n\n".join(parts) + "\n")
    print(f"tables in {path}")
    page = folder.with_suffix(".md")
    if page.is_file():
        _replace(page, refresh_tables(page.read_text(encoding="utf-8"), brief))
        print(f"tables renewed in {page}")


def _draw_curves(protocol: Protocol, task: str, final: Mapping[str, Sequence[Mapping[str, Any]]], folder: Path) -> None:
    spec, variants = protocol.tasks[task], protocol.variants
    titles = [variants[name].title for name in protocol.curve_variants]
    trained = [name for name in protocol.curve_variants if final.get(name) and variants[name].trained]
    for heading, column in spec.report.items():
        series = curves(protocol, task, final, trained, column)
        name = re.sub(r"\W+", "_", f"{task} {heading}").lower() + ".png"
        draw_curves(series, f"{spec.title}: {heading}", folder / name, known_labels=titles)


def _replace(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
