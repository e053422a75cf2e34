#!/usr/bin/env python
"""The command ``sgovss check`` as a script."""

from sgovss.commands import entry_point

main = entry_point("check")

if __name__ == "__main__":
    raise SystemExit(main())
