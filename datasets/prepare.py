#!/usr/bin/env python
"""The command ``sgovss prepare`` as a script."""

from sgovss.commands import entry_point

main = entry_point("prepare")

if __name__ == "__main__":
    raise SystemExit(main())
