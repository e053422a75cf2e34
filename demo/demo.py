#!/usr/bin/env python
"""The command ``sgovss segment`` as a script."""

import sys

from sgovss.commands.segment import main

if __name__ == "__main__":
    sys.exit(main())
