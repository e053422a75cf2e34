"""The command ``sgovss``, which ``python -m sgovss`` runs too."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence

from sgovss.commands import SUBCOMMANDS, entry_point
from sgovss.errors import InputError, command
from sgovss.version import __version__

_EXAMPLE = 'sgovss segment --config-file sgovss_tiny.yaml --input photo.jpg --vocabulary "road, water" --output output'


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the subcommand that the first argument names.

    Args:
        argv: the arguments; None for those of this process.

    Returns:
        The exit status.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    if not arguments:
        print(_help(), file=sys.stderr)
        return 2
    name, *rest = arguments
    if name in ("-h", "--help"):
        print(_help())
        return 0
    if name == "--version":
        print(f"sgovss {__version__}")
        return 0
    if name not in SUBCOMMANDS:
        raise InputError(f"'{name}' is not a subcommand of sgovss; {_suggestion(name)}")
    if argv is not None:
        return entry_point(name)(rest)
    # argparse shows the first item as the program's name.
    sys.argv = [f"sgovss {name}", *rest]
    return entry_point(name)()


def _help() -> str:
    width = max(map(len, SUBCOMMANDS))
    lines = [f"  {name:<{width}}  {subcommand.help}" for name, subcommand in SUBCOMMANDS.items()]
    return "\n".join(
        [
            "usage: sgovss SUBCOMMAND [options]",
            "",
            "Open-vocabulary semantic segmentation of aerial and satellite images.",
            "",
            "subcommands:",
            *lines,
            "",
            f"example:\n  {_EXAMPLE}",
            "",
            "'sgovss SUBCOMMAND --help' lists the options of a subcommand; 'sgovss --version' prints the version.",
        ]
    )


def _suggestion(name: str) -> str:
    close = difflib.get_close_matches(name, SUBCOMMANDS)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"the subcommands are {', '.join(SUBCOMMANDS)}"


if __name__ == "__main__":
    sys.exit(main())
