"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the checkout the tests run from."""
    return CHECKOUT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real aerial data sets; the test is skipped where there is none."""
    folder = Path(os.environ.get("SGOVSS_REAL_DATA") or CHECKOUT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"needs the real images: no folder {folder} (or name another in SGOVSS_REAL_DATA)")
    return folder
