"""Names of rasters as GDAL knows them: paths, URLs, files inside archives, and parts of files."""

from __future__ import annotations

import re
from pathlib import Path

# Parameters of URLs that only permit to read, and differ from one day to the next: of Amazon, Google and Azure.
_PERMITS = (
    r"x-(?:amz|goog)-[\w-]+|awsaccesskeyid|googleaccessid|key-pair-id|policy|signature|expires|sig|s[eiprtv]|sip|spr|srt"
    r"|sk[a-z]+|sdd|(?:access_?)?token|api_?key"
)
_PERMIT = re.compile(rf"(?:{_PERMITS})=", re.IGNORECASE)
_QUERY = re.compile(r"\?([^\s<>\"']*)")
_DRIVER = re.compile(r"[A-Za-z][A-Za-z0-9_+]+:(?!//)")
_PART = re.compile(r'"[^"]*"|[^:"]+')
_INSIDE = re.compile(r"((?:/vsi(?:zip|tar|gzip|7z|rar|sparse)/|/vsisubfile/\d+(?:_\d+)?,)+\{?)(.+)")


def is_local(name: str | Path) -> bool:
    """Whether a name is that of a file or folder on this machine."""
    try:
        return Path(name).exists()
    except (OSError, ValueError):
        return False


def absolute_name(name: str | Path) -> str:
    """Return a name that means the same raster in every working folder.

    The file in names such as ``GPKG:a/b.gpkg:table``, ``NETCDF:"a.nc":variable`` and ``/vsizip/a.zip/b.tif`` becomes
    absolute; URLs stay as they are.
    """
    text = str(name)
    if is_local(name):
        return str(Path(name).absolute())
    if text.startswith("/vsi"):
        return _absolute_inside(text)
    driver = _DRIVER.match(text)
    if driver is None:
        return text
    for part in _PART.finditer(text, driver.end()):
        absolute = _absolute_part(part[0])
        if absolute != part[0]:  # the file; what follows are names inside it
            return text[: part.start()] + absolute + text[part.end() :]
    return text


def without_permits(text: str) -> str:
    """Remove signatures, tokens and the like from the URLs in a text."""
    return _QUERY.sub(_lasting, text) if "://" in text else text


def _absolute_part(part: str) -> str:
    """Return a part of a name with its file absolute; numbers and keywords stay as they are."""
    if part.startswith('"'):
        return f'"{_absolute_part(part[1:-1])}"'
    if part.startswith("/vsi"):
        return _absolute_inside(part)
    return str(Path(part).absolute()) if is_local(part) and Path(part).is_file() else part


def _absolute_inside(name: str) -> str:
    """Return the name of a file inside another with the outer one absolute."""
    prefix, outer, rest = parts_of_inside(name)
    return name if outer is None else f"{prefix}{outer.absolute()}{rest}"


def parts_of_inside(name: str) -> tuple[str, Path | None, str]:
    """Divide the name of a file inside another, such as ``/vsizip/a.zip/b.tif``.

    Returns:
        what stands before the outer file, that file, and the rest; None for the file if there is none on this machine.
    """
    found = _INSIDE.fullmatch(name)
    if found is None:
        return name, None, ""
    prefix, path = found.groups()
    inner = path.split("/")
    for count in range(1, len(inner) + 1):
        outer = "/".join(inner[:count])
        file = Path(outer.removesuffix("}"))
        if is_local(file) and file.is_file():
            return prefix, file, path[len(outer.removesuffix("}")) :]
    return name, None, ""


def _lasting(query: re.Match[str]) -> str:
    """Return what of the query of a URL chooses data."""
    parts = [part for part in re.split("&amp;|&", query[1]) if not _PERMIT.match(part)]
    return f"?{'&'.join(parts)}" if parts else ""
