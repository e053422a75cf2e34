"""A command's script and module are imported once, then run in a new process for each of many argument lists.

    python forked.py demo/demo.py sgovss.commands.segment < jobs.json

The jobs are a JSON object of arguments by folder. The output, the error stream and the exit status of each process are
written to files beside its folder, with the suffixes .out, .err and .status.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import traceback
from importlib import import_module
from pathlib import Path
from types import ModuleType


def load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("command", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def run(script: ModuleType, folder: str, argv: list[str]) -> None:
    """Run the script in the child process: with its folder, streams and arguments; then exit."""
    os.chdir(folder)
    for descriptor, ending in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{folder}.{ending}", os.O_WRONLY | os.O_CREAT), descriptor)
    sys.argv = [script.__file__, *argv]
    try:
        status = script.main()
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main() -> None:
    script = load(sys.argv[1])
    import_module(sys.argv[2])
    for folder, argv in json.load(sys.stdin).items():
        child = os.fork()
        if child == 0:
            run(script, folder, argv)
        _, status = os.waitpid(child, 0)
        Path(f"{folder}.status").write_text(str(os.waitstatus_to_exitcode(status)))


if __name__ == "__main__":
    main()
