"""Ask PyPI which known vulnerabilities the installed packages have.

    python -m research.checks.audit_dependencies

Use this where pip-audit does not work: pip-audit needs PyPI's page on each version, or osv.dev. This tool needs only
PyPI's page on each project, which lists the vulnerabilities of the newest version. A package of an older version is
reported as not audited. The exit status is 1 if a vulnerability is found.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

PAGE = "https://pypi.org/pypi/{name}/json"
SECONDS = 60


class Audit(NamedTuple):
    """The answer of PyPI about one package.

    Attributes:
        package: name and version.
        known: names of its vulnerabilities; None if it was not audited.
        why: reason why it was not audited.
    """

    package: str
    known: list[str] | None
    why: str = ""


def audit(name: str, version: str) -> Audit:
    """Ask PyPI about one package."""
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
    """Name and version of every installed package except sgovss."""
    found = {each.metadata["Name"]: each.version for each in importlib.metadata.distributions()}
    return sorted((name, version) for name, version in found.items() if name != "sgovss")


def report(audits: list[Audit]) -> str:
    """Format the counts, and a line for each package that is vulnerable or was not audited."""
    unknown = [each for each in audits if each.known is None]
    vulnerable = [each for each in audits if each.known]
    lines = [f"{len(audits)} packages, {len(audits) - len(unknown)} audited, {len(vulnerable)} with vulnerabilities"]
    lines += [f"vulnerable: {each.package}: {', '.join(each.known or ())}" for each in vulnerable]
    lines += [f"not audited: {each.package} ({each.why})" for each in unknown]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m research.checks.audit_dependencies",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(argv)
    with ThreadPoolExecutor(4) as pool:
        audits = list(pool.map(lambda each: audit(*each), installed()))
    print(report(audits))
    return 1 if any(each.known for each in audits) else 0


if __name__ == "__main__":
    sys.exit(main())
