#!/usr/bin/env python
"""Write docs/robustness.md from the cases of the tests: python -m research.checks.robustness_table"""

from __future__ import annotations

import sys
from pathlib import Path

from tabulate import tabulate

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from tests.robustness.case import Case  # noqa: E402
from tests.robustness.cases import CASES, GROUPS  # noqa: E402

PAGE = ROOT / "docs" / "robustness.md"

INTRODUCTION = """\
# What happens to bad input

Each row is a test (`tests/robustness/cases/`), run through the command's `main(argv)` and as a process of its own;
this page is written from the tests by `python -m research.checks.robustness_table`. In what the user sees, … stands for
folders, and for what depends on the machine or a library's version.

A mistake ends in one line on the error stream, `error: …`, and in status 2 if nothing could be done, in status 1 if
some images could not be and the others were. `datasets/check.py` reports on a data set, one `problem: …` on each
line, and ends with status 1. There is no traceback, and no half-written file under its final name.
"""

SECURITY = """\
## Files from strangers

- **Nothing in a file runs.** Configs, dataset files and vocabularies are read as plain YAML or JSON: a tag that would
  build a Python object is an error. Checkpoints and CLIP weights are read with `torch.load(..., weights_only=True)`
  or safetensors; a file with any other pickled object is refused. CLIP weights that have such objects beside them can
  be converted, by whoever trusts their authors: `tools/convert_weights.py --trust-pickle`. OpenAI's CLIP archives are
  TorchScript programs, and `torch.jit.load` runs parts of a program while it loads, which can write to any file
  (`tests/modeling/test_torchscript.py` has one that does); sgovss takes the tensors out of such an archive without
  it. There is no `eval` and no shell.
- **Nothing is written elsewhere.** `datasets/prepare.py` does not unpack archives: it reads members one by one, and
  names what it writes by the part of their name that stands in braces, which has no folder. A dataset file may not
  name a folder to write to outside of its root. One run at a time may write to an output folder.
- **Memory.** Image files are opened by six decoders only; more than 178,956,970 pixels are refused where an image
  must be in memory as a whole. In the demo, what would need more than some 6 GB, by its pixels and words, is
  segmented window by window, and with thousands of words in smaller windows. Archive members that claim more than 2
  GB are refused, as are YAML files whose nesting would exhaust the stack.
- **The web page** listens at 127.0.0.1 unless `--host` says otherwise, refuses requests of other sites and under
  other names, takes files of at most `--max-megabytes` and 64 million pixels, and writes nothing to disk, not even
  uploads to temporary files. It has no password: do not give it an address that others reach.
- A config may name further configs by `_BASE_`, also by `https://`, which Detectron2 then downloads; those too are
  plain YAML.

## Known vulnerabilities of dependencies

`pip-audit` 2.10.1 could not audit a single package on the machine that this was written on: PyPI's pages on single
versions and osv.dev are out of its reach. What is within reach are PyPI's pages on projects, which list the
vulnerabilities of the newest version: `python -m research.checks.audit_dependencies` asks for those. On 2026-11-24,
of the 128 packages of the development environment 104 were at their newest version, and none of these had a known
vulnerability; 24 could not be audited: CUDA's libraries, which a CPU does not use, and antlr4-python3-runtime,
contourpy, mpmath, networkx, numpy, omegaconf, pip, pyproj, rasterio and scipy. Where the network allows it, ask for
everything:

```sh
python -m venv audit && audit/bin/pip install pip-audit
.venv/bin/pip freeze --exclude-editable > frozen.txt && audit/bin/pip-audit --no-deps --disable-pip -r frozen.txt
```

Of the advisories found by hand, these concern how sgovss reads strangers' files, and set lower bounds in `setup.py`:

| package | bound | because of |
|---|---|---|
| torch | 2.10 | `torch.load(weights_only=True)` could run code: CVE-2025-32434 below 2.6, CVE-2026-24747 below 2.10 |
| Pillow | 12.3 | memory errors in decoders: a batch of advisories that end with 12.3.0; sgovss opens six formats only |
| Werkzeug | 3.0.6 | forms that fill memory: CVE-2024-49767; the page limits requests besides |
"""


def table(cases: list[Case]) -> str:
    """One row a case."""
    rows = [[case.what, f"`{case.command}`", case.status, _seen(case)] for case in cases]
    headers = ["input", "command", "status", "what the user sees"]
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def page() -> str:
    """The whole page."""
    groups = "\n\n".join(f"## {name}\n\n{table(cases)}" for name, cases in GROUPS.items())
    return f"{INTRODUCTION}\n{len(CASES)} cases.\n\n{groups}\n\n{SECURITY}"


def _seen(case: Case) -> str:
    if not case.status:
        return case.sees
    # A bar would end the cell, and in code the backslash before it would be shown.
    return f"`{case.marker}{case.sees}`".replace("|", "¦")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.exit(0)
