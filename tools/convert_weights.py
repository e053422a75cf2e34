#!/usr/bin/env python
"""The command ``sgovss convert`` as a script."""

import sys

from sgovss.commands.convert import main

if __name__ == "__main__":
    sys.exit(main())
