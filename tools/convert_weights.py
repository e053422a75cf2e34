#!/usr/bin/env python
"""The command ``sgovss convert`` as a script."""

from sgovss.commands import entry_point

main = entry_point("convert")

if __name__ == "__main__":
    raise SystemExit(main())
