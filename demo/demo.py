#!/usr/bin/env python
"""The command ``sgovss segment`` as a script."""

from sgovss.commands import entry_point

main = entry_point("segment")

if __name__ == "__main__":
    raise SystemExit(main())
