#!/usr/bin/env python
"""The command ``sgovss export`` as a script."""

from sgovss.commands import entry_point

main = entry_point("export")

if __name__ == "__main__":
    raise SystemExit(main())
