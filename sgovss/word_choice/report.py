"""The files of a choice: the vocabulary, the numbers as JSON, and a page that needs no other file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import yaml

from sgovss.class_entries import ClassEntry
from sgovss.evaluation.metrics import class_counts, plain, scores_of_counts
from sgovss.files import atomic_path, write_json_atomically
from sgovss.inference.report import STYLE, facts_table, inline_picture
from sgovss.vocabulary import Vocabulary
from sgovss.word_choice.choosing import WordChoice
from sgovss.word_choice.diagnosis import WordHint
from sgovss.word_choice.pictures import draw_confusions, draw_examples, draw_spread

VOCABULARY, NUMBERS, PAGE = "vocabulary.yaml", "words.json", "report.html"
_PICTURES = "pictures"

HINT = (
    "There are no labels, so nothing is chosen. These numbers are a hint only: they show whose map hardly "
    "changes when the image is turned, and agrees with the other words of the class. A stable map may still be wrong."
)


def write_vocabulary(path: Path, chosen: Vocabulary) -> None:
    """Write a vocabulary as a file that every command takes."""
    lines = ["# Written by 'sgovss words'. A class is scored by its words; without any, by its name and synonyms."]
    lines += ["classes:", *(f"  - {_flow(entry)}" for entry in chosen)]
    with atomic_path(path) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_choice(choice: WordChoice, folder: Path, settings: Mapping[str, str]) -> None:
    """Write the vocabulary, the numbers and the page of a choice.

    Args:
        choice: the choice.
        folder: is created if needed.
        settings: of the run, for the page and the JSON.

    Raises:
        InputError: the folder cannot be written to, or an image or label cannot be read.
    """
    before, pictures = choice.candidates.before, folder / _PICTURES
    write_vocabulary(folder / VOCABULARY, choice.chosen)
    write_json_atomically(folder / NUMBERS, {**settings, **numbers(choice)})
    draw_spread(choice.spread, choice.marks, pictures / "spread.png")
    matrices = {kind: choice.validation.matrix(kind) for kind in ("before", "after")}
    confusions = draw_confusions({k: m for k, m in matrices.items() if m is not None}, before.names, pictures)
    examples = draw_examples(choice.images, before, choice.vocabularies, pictures)
    parts = [
        "".join(f"<p>{escape(line)}</p>" for line in choice.lines),
        f"<h2>Words</h2>{_words(choice)}",
        f"<h2>Spread</h2><p>The mIoU of {len(choice.spread)} random choices among the candidates, on all images. The "
        "words chosen by these images score too high here; the gain above is that of images that did not choose.</p>"
        f"{_picture(pictures / 'spread.png', 'histogram of random choices')}",
        f"<h2>Confusions</h2><p>{_CONFUSIONS if confusions else _NO_CONFUSIONS}</p>"
        f"<div class=tables>{''.join(_picture(path, path.stem.replace('_', ' ')) for path in confusions)}</div>",
        f"<h2>Before and after</h2><p>{_EXAMPLES}</p>"
        + "".join(f"<h3>{escape(name)}</h3>{_picture(path, f'maps of {name}')}" for name, path in examples.items()),
        f"<h2>Words that never win</h2><p>{_NEVER}</p><p>{escape(', '.join(_never(choice)) or 'none')}</p>",
        f"<h2>Twins</h2><p>{_TWINS}</p>{_twins(choice)}",
        f"<h2>Candidates</h2><p>{_USES}</p>{_uses(choice)}",
    ]
    write_page(folder / PAGE, "Words chosen by labelled images", parts, settings)


def write_hints(hints: Sequence[WordHint], folder: Path, settings: Mapping[str, str]) -> None:
    """Write the numbers and the page of hints by images without labels."""
    ordered = sorted(hints, key=lambda each: (each.class_name, -each.turns))
    content = {"hint": HINT, "words": [each._asdict() for each in ordered]}
    write_json_atomically(folder / NUMBERS, {**settings, **content})
    rows = [[each.class_name, each.word, f"{each.turns:.2f}", _decimal(each.agreement)] for each in ordered]
    table = _table(("class", "word", "turns", "other words"), rows)
    explained = (
        "Turns: correlation of the map of a word with its maps of the turned image. Other words: correlation with the "
        "mean map of the other words of the class."
    )
    write_page(folder / PAGE, "Hints about words", [f"<p>{HINT}</p><p>{explained}</p>{table}"], settings)


def numbers(choice: WordChoice) -> dict[str, Any]:
    """The numbers of a choice, for JSON; mIoU and IoU in percent."""
    validation, before = choice.validation, choice.candidates.before
    kinds = ("before", "after", "shifted")
    names = [image.sample.name for image in choice.images]
    return {
        "words_before": _plain_words(before),
        "words_chosen": _plain_words(choice.chosen),
        "offsets": [entry.offset for entry in choice.chosen],
        "held_out_mIoU": {kind: validation.held_out(kind) for kind in kinds},
        "held_out_IoU": {kind: _ious(choice, kind) for kind in kinds},
        "gain": validation.gain("after"),
        "gain_of_offsets": validation.gain("shifted", over="after"),
        "images": len(names),
        "folds": [
            {
                "left_out": [names[place] for place in fold.images],
                "words": _plain_words(choice.vocabularies[fold.images[0]]),
                "most_words": fold.chosen.most,
                "offsets": fold.chosen.offsets,
            }
            for fold in validation.folds
        ],
        "spread": list(choice.spread),
        "on_the_grid": choice.marks,
        "candidates": [each._asdict() for each in choice.uses],
        "never_win": _never(choice),
        "twins": [each._asdict() for each in choice.twins],
        "notes": list(choice.lines),
    }


def write_page(path: Path, title: str, parts: Iterable[str], settings: Mapping[str, str]) -> None:
    """Write an HTML page of a title, settings and parts in HTML."""
    page = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>sgovss: {escape(title)}</title><style>{STYLE}</style></head>
<body><h1>{escape(title)}</h1>
{"".join(parts)}
<h2>Run</h2>{facts_table(settings)}
</body></html>
"""
    with atomic_path(path) as partial:
        partial.write_text(page, encoding="utf-8")


_CONFUSIONS = "Of images that did not choose; each row is a true class, in percent of its pixels."
_NO_CONFUSIONS = "There is only one image, and no other to test the choice on."
_EXAMPLES = (
    "The images that the choice changes most, for better or worse. Each is shown with the words that the other images "
    "chose."
)
_NEVER = "At no place is one of these the best of all candidates. As synonyms they do neither good nor harm."
_TWINS = (
    "Pairs of words of different classes that take pixels from each other: taken are labelled pixels of the second "
    "word's class that the first word wins, given the reverse. If one word is left out, the other may win them."
)
_USES = (
    "When all candidates compete: the share of the images where a word is the best, and how many of the labelled "
    "pixels there are of its class."
)


def _words(choice: WordChoice) -> str:
    rows = [
        [old.name, " | ".join(old.scored_names), " | ".join(new.scored_names), _decimal(first), _decimal(second)]
        for old, new, first, second in zip(
            choice.candidates.before, choice.chosen, *(_ious(choice, kind) for kind in ("before", "after")), strict=True
        )
    ]
    return _table(("class", "words in use", "chosen words", "IoU before", "IoU after"), rows)


def _ious(choice: WordChoice, kind: str) -> list[float | None]:
    """IoU of each class on images that did not choose."""
    matrix = choice.validation.matrix(kind)
    if matrix is None:
        return [None] * len(choice.candidates.before)
    return [plain(value) for value in scores_of_counts(class_counts(matrix)).iou]


def _never(choice: WordChoice) -> list[str]:
    return list(dict.fromkeys(each.word for each in choice.uses if not each.share))


def _twins(choice: WordChoice) -> str:
    rows = [
        [f"{each.first} ({each.first_class})", f"{each.second} ({each.second_class})", f"{each.taken:,}",
         f"{each.lost:,}", f"{each.similarity:.2f}"]
        for each in choice.twins
    ]  # fmt: skip
    return _table(("first word", "second word", "taken", "given", "likeness of the words"), rows)


def _uses(choice: WordChoice) -> str:
    rows = [
        [each.class_name, each.word, f"{100 * each.share:.2f} %", "" if each.precision is None
         else f"{100 * each.precision:.0f} %"]
        for each in choice.uses
    ]  # fmt: skip
    return _table(("class", "word", "best at", "right"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = "".join(f"<th>{escape(each)}</th>" for each in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{cells}</tr>{body}</table>"


def _picture(path: Path, text: str) -> str:
    return f'<p><img alt="{escape(text, quote=True)}" src="{inline_picture(path)}"></p>'


def _decimal(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _plain_words(vocabulary: Vocabulary) -> list[list[str]]:
    return [list(entry.scored_names) for entry in vocabulary]


def _flow(entry: ClassEntry) -> str:
    """A class as one line of YAML."""
    content: dict[str, Any] = {"name": entry.name}
    if entry.synonyms:
        content["synonyms"] = list(entry.synonyms)
    if entry.words:
        content["words"] = list(entry.words)
    if entry.color is not None:
        content["color"] = list(entry.color)
    if entry.offset:
        content["offset"] = round(entry.offset, 6)
    return yaml.safe_dump(content, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6).strip()
