"""Cases from public reports about tools like this one, run as the reporters would; not in the repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).parents[2] / "shared" / "cases"
NAMES = sorted(path.parent.name for path in CASES.glob("*/run.sh"))

pytestmark = pytest.mark.slow


@pytest.mark.skipif(not NAMES, reason=f"needs the cases of public reports: no folder {CASES}")
@pytest.mark.parametrize("name", NAMES or ["none"])
def test_the_case_of_a_public_report(name, checkout, tmp_path_factory):
    cache = tmp_path_factory.getbasetemp() / "public_reports_cache"  # one cache of class names for all cases
    done = subprocess.run(
        ["sh", str(CASES / name / "run.sh"), str(checkout), sys.executable],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env={**os.environ, "SGOVSS_CACHE": str(cache)},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-500:]
