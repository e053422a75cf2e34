#!/usr/bin/env python
"""The command ``sgovss check`` as a script."""

import sys

from sgovss.commands.check import main

if __name__ == "__main__":
    sys.exit(main())
