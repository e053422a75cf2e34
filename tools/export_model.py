#!/usr/bin/env python
"""The command ``sgovss export`` as a script."""

import sys

from sgovss.commands.export import main

if __name__ == "__main__":
    sys.exit(main())
