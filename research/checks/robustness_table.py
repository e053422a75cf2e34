#!/usr/bin/env python
"""Write docs/robustness.md from the test cases.

    python -m research.checks.robustness_table

A test checks that the page is up to date.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from tests.robustness.case import MODULES, Case  # noqa: E402
from tests.robustness.cases import CASES, GROUPS  # noqa: E402

PAGE = ROOT / "docs" / "robustness.md"

INTRODUCTION = """\
# Invalid input

Each row is a test from `tests/robustness/cases/`. The test calls the command's `main(argv)` and also runs the command
as a process. `python -m research.checks.robustness_table` writes this page from the tests. In the last column, … stands
for folders, and for text that depends on the machine or on the version of a library.

An error is one line on the error stream, `error: …`. The exit status is 2 if nothing could be done, and 1 if some
images failed and the others were processed. `sgovss check` writes one line `problem: …` per problem of a dataset, and
ends with status 1. No command shows a traceback or leaves a partial file under its final name.
"""

SECURITY = """\
## Files from untrusted sources

- **No file is executed.** Configs, dataset files and vocabularies are read as plain YAML or JSON; a tag that would
  build a Python object is an error. Checkpoints and CLIP weights are read with `torch.load(..., weights_only=True)`
  or as safetensors; a file with any other pickled object is refused. CLIP weights that contain such objects can be
  converted with `sgovss convert --trust-pickle`, if their authors are trusted. OpenAI's CLIP archives are TorchScript
  programs. `torch.jit.load` runs parts of a program while it loads it, and these can write to any file
  (`tests/modeling/test_torchscript.py` has an example). sgovss therefore reads the tensors of such an archive without
  `torch.jit.load`. There is no `eval` and no shell command.
- **No file is written outside the output folder.** `sgovss prepare` does not unpack archives. It reads their members
  one by one, and names its output by the part of a member's name that matches the braces of the pattern, which cannot
  contain a folder. A dataset file cannot name an output folder outside its root. Only one run at a time can write to an
  output folder.
- **Memory is limited.** Image files are opened by six decoders only. An image that has to be in memory as a whole may
  have at most 178,956,970 pixels. `sgovss segment` processes an image window by window if its pixels and classes would
  need more than about 6 GB. Archive members that claim more than
  2 GB are refused, and so are YAML files whose nesting would exhaust the stack.
- **The web page is local.** It listens at 127.0.0.1 unless `--host` is given. It refuses requests that come from other
  sites or are addressed to other host names, and uploads of more than `--max-megabytes` or 64 million pixels. Only
  scenes are written to disk, into a private temporary folder that is deleted when the page is stopped by Ctrl-C or a
  signal to end. It has no password, so do not give it an address that others can reach.
- A config may name another config by `_BASE_`, also by `https://`, which Detectron2 then downloads; it is read as plain
  YAML too.

## Known vulnerabilities of dependencies

`pip-audit` 2.10.1 could not audit any package on the development machine, because the machine cannot reach osv.dev or
PyPI's pages of single versions. It can reach PyPI's pages of projects, which list the vulnerabilities of the newest
version; `python -m research.checks.audit_dependencies` reads those. On 2026-11-24, 104 of the 128 packages of the
development environment were at their newest version, and none of them had a known vulnerability. The other 24 could not
be audited: CUDA's libraries, which a CPU does not use, and antlr4-python3-runtime, contourpy, mpmath, networkx, numpy,
omegaconf, pip, pyproj, rasterio and scipy. With access to osv.dev, audit all packages:

```sh
python -m venv audit && audit/bin/pip install pip-audit
.venv/bin/pip freeze --exclude-editable > frozen.txt && audit/bin/pip-audit --no-deps --disable-pip -r frozen.txt
```

These advisories, found by hand, concern the reading of untrusted files, and set lower bounds in `setup.py`:

| package | lower bound | reason |
|---|---|---|
| torch | 2.10 | `torch.load(weights_only=True)` could run code: CVE-2025-32434 below 2.6, CVE-2026-24747 below 2.10 |
| Pillow | 12.3 | memory errors in decoders, fixed up to 12.3.0; sgovss opens six formats only |
| Werkzeug | 3.0.6 | forms that exhaust the memory: CVE-2024-49767; the page also limits the size of requests |
"""


def table(cases: list[Case]) -> str:
    """Return a Markdown table with one row per case."""
    rows = [[case.what, f"`sgovss {_subcommand(case)}`", case.status, _seen(case)] for case in cases]
    headers = ["input", "command", "status", "what the user sees"]
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def page() -> str:
    """Return the whole page."""
    groups = "\n\n".join(f"## {name}\n\n{table(cases)}" for name, cases in GROUPS.items())
    return f"{INTRODUCTION}\n{len(CASES)} cases.\n\n{groups}\n\n{SECURITY}"


def _subcommand(case: Case) -> str:
    return MODULES[case.command].rpartition(".")[2]


def _seen(case: Case) -> str:
    if not case.status:
        return case.sees
    # A vertical bar would end the table cell, and an escaped bar shows its backslash in code.
    return f"`{case.marker}{case.sees}`".replace("|", "¦")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m research.checks.robustness_table",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(argv)
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
