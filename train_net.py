#!/usr/bin/env python
"""The command ``sgovss train`` as a script of Detectron2's usual name."""

import sys

from sgovss.allocator import keep_freed_memory
from sgovss.commands.train import main

if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main())
