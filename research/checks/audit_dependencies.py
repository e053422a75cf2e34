#!/usr/bin/env python
"""Ask PyPI which known vulnerabilities the installed packages have: python -m research.checks.audit_dependencies

For machines that pip-audit cannot work on: it needs PyPI's page on each single version, or osv.dev. This tool needs
only PyPI's page on each project, which lists the vulnerabilities of the newest version; a package that is not at its
newest version is named as not audited. Ends with status 1 if a vulnerability is found.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

PAGE = "https://pypi.org/pypi/{name}/json"
SECONDS = 60


class Audit(NamedTuple):
    """What PyPI says of a package; ``known`` are the vulnerabilities' names, None where it does not say."""

    package: str
    known: list[str] | None
    why: str = ""


def audit(name: str, version: str) -> Audit:
    """Ask of one package."""
    package = f"{name} {version}"
    try:
        with urllib.request.urlopen(PAGE.format(name=name), timeout=SECONDS) as response:
            page = json.load(response)
    except urllib.error.HTTPError as error:
        return Audit(package, None, f"HTTP {error.code}")
    except (OSError, ValueError) as error:
        return Audit(package, None, str(error))
    newest = page["info"]["version"]
    if newest != version:
        return Audit(package, None, f"newest is {newest}")
    return Audit(package, [found["id"] for found in page["vulnerabilities"] if not found.get("withdrawn")])


def installed() -> list[tuple[str, str]]:
    """Name and version of every package here but this one."""
    found = {each.metadata["Name"]: each.version for each in importlib.metadata.distributions()}
    return sorted((name, version) for name, version in found.items() if name != "sgovss")


def report(audits: list[Audit]) -> str:
    """Counts, then a line for each package that is vulnerable or was not audited."""
    unknown = [each for each in audits if each.known is None]
    vulnerable = [each for each in audits if each.known]
    lines = [f"{len(audits)} packages, {len(audits) - len(unknown)} audited, {len(vulnerable)} with vulnerabilities"]
    lines += [f"vulnerable: {each.package}: {', '.join(each.known or ())}" for each in vulnerable]
    lines += [f"not audited: {each.package} ({each.why})" for each in unknown]
    return "\n".join(lines)


def main() -> int:
    with ThreadPoolExecutor(4) as pool:
        audits = list(pool.map(lambda each: audit(*each), installed()))
    print(report(audits))
    return 1 if any(each.known for each in audits) else 0


if __name__ == "__main__":
    sys.exit(main())
