#!/usr/bin/env python
"""The command ``sgovss train`` under the name that Detectron2's projects use."""

from sgovss.commands import entry_point

main = entry_point("train")

if __name__ == "__main__":
    raise SystemExit(main())
