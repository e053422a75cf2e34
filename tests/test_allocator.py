"""A restarted script keeps its arguments and the interpreter's flags."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sgovss.allocator import SETTINGS

SCRIPT = """
import os, sys
from sgovss.allocator import SETTINGS, keep_freed_memory
print("started", flush=True)
keep_freed_memory()
print(sys.argv[1:], sys.flags.dont_write_bytecode, [os.environ[key] for key in SETTINGS])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_a_script_starts_anew_once_with_the_settings_and_its_own_arguments(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {key: value for key, value in os.environ.items() if key not in SETTINGS}
    command = [sys.executable, "-B", "script.py", "--steps", "3"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    expected = f"['--steps', '3'] 1 {list(SETTINGS.values())}"
    assert done.stdout.splitlines() == ["started", "started", expected]
