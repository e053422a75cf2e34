#!/usr/bin/env python
"""The command ``sgovss app`` as a script."""

from sgovss.commands import entry_point

main = entry_point("app")

if __name__ == "__main__":
    raise SystemExit(main())
