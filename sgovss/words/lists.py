"""Class names in text, as users type it, paste it from another program, or save it in a file.

The rules, in this order:

1. A title in front, such as ``classes:``, ``land cover classes:`` or ``names =``, is left out, and so are a byte order
   mark, soft hyphens and marks without width (zero width space, direction marks).
2. Text in square brackets without quotation marks is read like text. Other text in square or curly brackets is a list
   or mapping of YAML, which includes JSON and the lists of Python. Round brackets around the whole text, and quotation
   marks around a name or the whole text, are left out. In quotation marks, separators are part of the name. Each pair
   of round brackets around quoted names (``('tree', 'wood'), ('road',)``), and each of several lists in a list, holds
   the names of one class.
3. A line end separates classes. Left out are empty lines, lines that start with ``#`` or ``//``, comments after these
   signs with a space on each side, bullets (``-``, ``*``, ``•``) and check boxes in front of every line, of which some
   may have a number instead, a first line such as ``class`` or ``id name``, or of more than three words above bullets,
   labelme's ``__ignore__``, and a separator at the end. A colon ends a title in the first line; behind several lines,
   it is left out, and bullets below them are synonyms. Three numbers, or ``#`` with six digits, at the same place of
   every line are colours.
4. One kind of separator separates classes: commas, semicolons or tabs, also those of Chinese, Japanese, Arabic and
   other keyboards; bullets; or the full stops of Grounding DINO (``building . road .``, ``building. road.``). Text with
   two kinds is refused, because its meaning is not clear. Full stops of sentences beside another separator stay in the
   name, with a note. Separators in round brackets are part of the name. In a file with several lines, commas separate
   synonyms instead.
5. Bars separate synonyms, also fullwidth ones.
6. Different numbers at all classes (``1. building, 2. road`` or ``building: 0, road: -1``), Markdown's ``1.`` at all of
   them, letters (``a) building, b)
   road``), asterisks around names, and ``and`` in front of the last class, are left out.

All else is part of a name: hyphens, slashes, apostrophes, round brackets, "and" between two words, full stops in a word
or after an abbreviation. A name is refused that is only a number or punctuation, has an equals sign, a colour, or
brackets or quotation marks without a partner, or is the name of a list file. The notes of the result name readings that
the user may not expect.
"""

from __future__ import annotations

import re
from typing import Any

from sgovss.errors import InputError
from sgovss.words.colors import Colored, colored_lines
from sgovss.words.keys import NAMES, unread_keys
from sgovss.words.lines import (
    COMMAS,
    check_comment,
    plain_lines,
    plain_text,
    text_lines,
    without_bullets,
    without_header,
)
from sgovss.words.names import checked_name, unquoted
from sgovss.words.numbers import without_numbers
from sgovss.words.structures import (
    WordList,
    find_classes,
    groups,
    inside_plain_list,
    outline,
    parse_list,
    quoted_list,
)

_SEPARATORS = {
    "commas": f"[{COMMAS}]",
    "semicolons": "[;；؛﹔\u037e]",
    "tabs": "\t",
    "bullets": "[•‣▪●◦]",
    "full stops": r"(?:[。｡]|(?<=\s)\.(?=\s|$))",
}
_BARS = "[|｜￨¦│∣]"
_NOT_IN_BRACKETS = r"(?![^()（）]{0,200}[)）])"  # unless more than 200 characters stand between the brackets
_SENTENCE_END = r"(?<!\b[A-Z])(?<!\b(?:St|Mt|Ft|Dr|Mr|No|Nr|Rd))(?<!\b(?:Ave|Mrs))(?<!\bBlvd)\.+(?:\s+|$)"
_TITLE = re.compile(
    r"\A(?:\s*(?:#|//).*\n)*(?:nc\s*[:=]\s*\d+\s*\n)?\s*(?:[^\W\d][\w -]*[ _])?"
    r"(?:class(?:es|[ _]names)?|names|labels|categories|vocab(?:ulary)?|words|legend|objects|targets|prompts?)"
    r"\s*[:=]\s*",
    re.IGNORECASE,
)
_OTHER_TITLE = re.compile(r"[^\W\d]+:\s")
_QUOTED_NAME = re.compile(r"""\A['"]|,\s*(?P<mark>['"])[^'"\n]*,[^'"\n]*(?P=mark)\s*(?:,|\Z)""")
_COUNTED = r"(?:\d+[.):]|[a-z]\))\s"
_SENTENCES = re.compile(r"[a-z][a-z -]*(?:\. [a-z][a-z -]*){2,}")  # at least three, without the last full stop
_SEEMS_SEVERAL = re.compile(r"\.\s|\s[-/&+·]\s|/.*/|\s(?:and|or|und|et|y|和)\s")


def read_text(text: str, source: str) -> WordList:
    """Read class names as they are typed or pasted; the rules are those of this module.

    Args:
        text: the text.
        source: where it is from, for error messages.

    Raises:
        InputError: the text mixes separators, or a name cannot be one.
    """
    # A shell passes '\n' on as two characters.
    text = plain_text(text).replace("\\r\\n", "\n").replace("\\n", "\n").replace("\\t", "\t").strip()
    if (grouped := _grouped(text, source)) is not None:
        return grouped
    text = _TITLE.sub("", text)
    if (inside := inside_plain_list(text)) is not None:
        text = inside
    elif text[:1] in ("[", "{"):
        return read_structure(parse_list(text, source), source)
    text = _unwrapped(text)
    if _QUOTED_NAME.search(text) and isinstance(quoted := quoted_list(text), list):
        return _word_list([re.split(_BARS, name) for name in quoted], [], source)
    check_comment(text, source)
    lines, notes = without_header(text_lines(text, source))
    if colored := colored_lines(lines):
        return _colored(colored, notes, source)
    lines, more = plain_lines(lines)
    notes += more
    parts = [part.strip() for line in lines for part in _parts(line, source)]
    if len(parts) > 1 and (listed := without_bullets(parts[1:])) != parts[1:]:
        parts = [*without_bullets(parts[:1]), *listed]
    parts, _ = without_numbers(parts, in_lines=False)
    return _word_list(_without_and(parts, notes), notes, source)


def read_structure(value: Any, source: str) -> WordList:
    """Read a list or mapping of YAML or JSON, or a text in place of the list (``classes: building, road``).

    Bars and commas in a string separate synonyms. So do inner lists, each of which has the names of one class.

    Raises:
        InputError: the value is nothing of this kind, or a name cannot be one.
    """
    found = find_classes(value, source)
    if isinstance(found, str):
        return read_text(found, source)
    if all(isinstance(item, str) for item in found):
        found, _ = without_numbers(found, in_lines=False)
    found, more = _without_inner_lists(found)
    items = [_checked_item(item, source) for item in found]
    notes = [*unread_keys(items), *more]
    if len(items) == 1 and isinstance(items[0], tuple) and len(items[0]) > 1 and not re.search(_BARS, found[0]):
        notes.append(f"the list has one item, so '{items[0][0]}' is also '{items[0][1]}'")
    return WordList(items, notes)


def _without_inner_lists(items: list[Any]) -> tuple[list[Any], list[str]]:
    """Write inner lists, each of the names of one class, with bars; and a note on the first with several names.

    A single inner list stays as it is, because its names may be meant as classes.
    """
    inner = [item for item in items if isinstance(item, list) and item and all(isinstance(name, str) for name in item)]
    if len(items) < 2 or not inner:
        return items, []
    pairs = [names for names in inner if len(names) > 1]
    notes = [f"names in an inner list are synonyms: '{names[0]}' is also '{names[1]}'" for names in pairs[:1]]
    return ["|".join(item) if item in inner else item for item in items], notes


def _grouped(text: str, source: str) -> WordList | None:
    """The classes of groups of Python or of an outline, with a note on what is in a group; None for another text."""
    if found := groups(_TITLE.sub("", text)):
        pairs = [names[:2] for names in found if len(names) > 1]
        notes = [f"names in a pair of brackets are synonyms: '{name}' is also '{other}'" for name, other in pairs[:1]]
        return _word_list(found, notes, source)
    if (classes := outline(text)) is None:
        return None
    words = read_structure(classes, source)
    names = [item["name"] for item in words.items if isinstance(item, dict) and item.get("synonyms")]
    return WordList(words.items, [*words.notes, *(f"the lines below '{name}:' are its synonyms" for name in names[:1])])


def _checked_item(item: Any, source: str) -> Any:
    """An item of a list with its names checked, and a string split into its names."""
    if isinstance(item, str):
        return tuple(checked_name(name, source, in_list=True) for name in _synonyms(item))
    if isinstance(item, dict):
        name = next((item[key] for key in NAMES if isinstance(item.get(key), str)), None)
        return item if name is None else {**item, "name": checked_name(name, source, in_list=True)}
    return item


def _synonyms(text: str) -> list[str]:
    """Split at bars and commas."""
    return re.split(f"[{COMMAS}]{_outside_brackets(text)}|{_BARS}", text)


def read_lines(text: str, source: str) -> WordList:
    """Read the lines of a text file: one class per line, in which bars or commas separate synonyms.

    A file with only one line is read like typed text. Lines may end with a colour (``road 128 64 128``), or have the
    form of CVAT's ``labelmap.txt`` (``road:128,64,128::``).

    Raises:
        InputError: see :func:`read_text`.
    """
    if (grouped := _grouped(plain_text(text), source)) is not None:
        return grouped
    check_comment(text, source)
    lines, notes = without_header(text_lines(plain_text(text), source))
    if len(lines) == 1:
        words = read_text(lines[0], source)
        return WordList(words.items, [*notes, *words.notes])
    if colored := colored_lines(lines):
        return _colored(colored, notes, source)
    lines, more = plain_lines(lines)
    notes += more
    for line in lines:
        if found := next((kind for kind in ("semicolons", "tabs") if re.search(_SEPARATORS[kind], line)), None):
            raise InputError(
                f"{source}: '{line}' has {found}; write one class per line, with synonyms separated by '|'"
            )
    with_commas = [_synonyms(line) for line in lines if not re.search(_BARS, line)]
    if joined := [names for names in with_commas if len(names) > 1]:
        first, second, *_ = joined[0]
        notes.append(f"commas in a line separate synonyms: '{first.strip()}' is also '{second.strip()}'")
    return _word_list([_synonyms(line) for line in lines], notes, source)


def seems_several(name: str) -> bool:
    """Whether one class name looks like several that are not separated by commas."""
    return _SEEMS_SEVERAL.search(name) is not None


def _parts(line: str, source: str) -> list[str]:
    """Split a line at its separators."""
    outside = _outside_brackets(line)
    used = [kind for kind, sign in _SEPARATORS.items() if re.search(sign + outside, line)]
    # "1,<tab>building": a tab beside another separator is white space.
    if len(used) > 1 and "tabs" in used:
        used.remove("tabs")
    if len(used) > 1:
        raise InputError(
            f"{source}: both {used[0]} and {used[1]} separate names in '{line[:60]}'; separate classes with ',' and "
            "synonyms with '|'"
        )
    if not used and (_SENTENCES.fullmatch(line) or (line.endswith(".") and re.search(_SENTENCE_END, line[:-1]))):
        return _filled(re.split(_SENTENCE_END, line))
    if not used:
        return re.split(rf"\s+(?={_COUNTED})", line) if re.match(_COUNTED, line) else [_without_stop(line)]
    parts = re.split(_SEPARATORS[used[0]] + outside, line)
    if used[0] == "full stops":  # Grounding DINO ends its list with one too
        parts = _filled([name for part in parts for name in re.split(_SENTENCE_END, part)])
    if used[0] == "bullets":
        parts = _filled(parts)
    return [*parts[:-1], *map(_without_stop, parts[-1:])]


def _without_stop(part: str) -> str:
    """The last part without the full stops of a sentence; that of an abbreviation stays."""
    part = part.rstrip()
    return part if re.search(r"\b[A-Z]\w{0,3}\.$", part) else part.rstrip(" .") or part


def _outside_brackets(line: str) -> str:
    """The end of a pattern that must not match in brackets; none if brackets do not pair, as in "1) road, 2) tree"."""
    return _NOT_IN_BRACKETS if len(re.findall("[(（]", line)) == len(re.findall("[)）]", line)) else ""


def _filled(parts: list[str]) -> list[str]:
    return [part for part in parts if part.strip()]


def _without_and(parts: list[str], notes: list[str]) -> list[list[str]]:
    """Split the parts into names; "and" in front of the last class is left out."""
    if len(parts) > 1:
        last = re.sub(r"^\s*(?:and|or)\s+", "", parts[-1])
        doubtful = [part for part in parts if re.search(_SENTENCE_END + r"(?=\S)", part)]
        if last == parts[-1] and re.search(r"\s(?:and|or|&)\s", last):
            doubtful.append(last)
        notes += [f"'{part.strip()}' is one class; commas separate classes" for part in dict.fromkeys(doubtful)]
        parts = [*parts[:-1], last]
        if title := _OTHER_TITLE.match(parts[0].strip()):
            notes.append(f"'{parts[0].strip()}' is one class; remove '{title[0].strip()}' if it is a title")
    return [re.split(_BARS, part) for part in parts]


def _word_list(classes: list[list[str]], notes: list[str], source: str) -> WordList:
    named = [tuple(checked_name(name, source) for name in names) for names in classes]
    if not any(map(any, named)):
        return WordList([], notes)
    if ("",) in named:
        position = named.index(("",))
        beside = f"behind '{named[position - 1][0]}'" if position else f"in front of '{named[1][0]}'"
        raise InputError(f"{source}: an empty class name {beside}; remove the extra separator")
    return WordList(list(named), notes)


def _colored(lines: list[Colored], notes: list[str], source: str) -> WordList:
    """The classes of lines with colours."""
    names, more = without_numbers([line.name for line in lines], in_lines=True)
    items = [{"name": checked_name(name, source), "color": line.color} for name, line in zip(names, lines, strict=True)]
    return WordList(items, [*notes, *more])


def _unwrapped(text: str) -> str:
    """Remove round brackets or quotation marks around the whole text, and what ends a sentence or line behind them."""
    text = re.sub(rf"(?<=[)])[\s.;{COMMAS}]+$", "", text)
    if text.startswith("(") and text.endswith(")") and not set(text[1:-1]) & set("()"):
        return _unwrapped(text[1:-1].strip().removesuffix(","))
    return unquoted(text[1:] if text.startswith("$'") else text)  # Bash's quotation marks, as other shells pass them on
