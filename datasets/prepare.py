#!/usr/bin/env python
"""The command ``sgovss prepare`` as a script."""

import sys

from sgovss.commands.prepare import main

if __name__ == "__main__":
    sys.exit(main())
