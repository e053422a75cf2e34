#!/usr/bin/env python
"""The command ``sgovss app`` as a script."""

import sys

from sgovss.commands.app import main

if __name__ == "__main__":
    sys.exit(main())
