"""Models of the Hugging Face hub: what names one, and fetching and publishing model folders (extra ``hub``)."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from sgovss import paths
from sgovss.errors import InputError

WEIGHTS, CONFIG, CARD, STAC_ITEM = "model.safetensors", "config.yaml", "README.md", "mlm.json"
MODEL_FILES = (WEIGHTS, CONFIG, CARD, STAC_ITEM)
"""The files of a model folder."""

_ID = re.compile(r"(?P<repository>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>\w[\w./-]*))?", re.ASCII)
_FILE = re.compile(r"\.(pth?|bin|ckpt|safetensors|onnx|pt2|ya?ml|json|zip|tar|gz)$", re.IGNORECASE)


class HubId(NamedTuple):
    """A model of the hub.

    Attributes:
        repository: ``owner/name``.
        revision: a branch, tag or commit; None for the main branch.
    """

    repository: str
    revision: str | None


def parse_id(name: str | Path) -> HubId | None:
    """What a name means on the hub; None if it names a path here.

    ``owner/name`` and ``owner/name@revision`` are of the hub, unless there is such a file or folder here, or the name
    ends like one of a file (``.pth``, ``.yaml``).
    """
    return None if paths.exists(name) else _parse(str(name))


def hub_id(name: str) -> HubId:
    """What a name means on the hub, whatever is here.

    Raises:
        InputError: it is no ``owner/name`` or ``owner/name@revision``.
    """
    if (found := _parse(name)) is None:
        raise InputError(f"'{name}' is no model of the hub; give owner/name or owner/name@revision")
    return found


def _parse(text: str) -> HubId | None:
    found = None if _FILE.search(text) else _ID.fullmatch(text)
    return found and HubId(found["repository"], found["revision"])


def local_path(name: str | Path) -> Path:
    """The path that a name stands for: itself, or the folder in the cache that a model of the hub is fetched into.

    Raises:
        InputError: there is no such model, or it cannot be fetched.
    """
    found = parse_id(name)
    return Path(name) if found is None else fetch(found)


@functools.cache  # one commit for config and weights, if the model changes on the hub while a process reads it
def fetch(model: HubId) -> Path:
    """Fetch the files of a model, unless they are in the cache already.

    Returns:
        the folder in the cache.

    Raises:
        InputError: there is no such model or revision, the hub cannot be reached, or the extra ``hub`` is missing.
    """
    shown = model.repository if model.revision is None else f"{model.repository}@{model.revision}"
    absent = f"{shown}: no file or folder here"
    hub = _library(f"{absent}; correct the path, or if it is a model of the hub: ")
    try:
        folder = hub.snapshot_download(model.repository, revision=model.revision, allow_patterns=list(MODEL_FILES))
    except hub.errors.RevisionNotFoundError as error:
        raise InputError(
            f"{absent}, and the model '{model.repository}' has no revision '{model.revision}'; correct or drop it"
        ) from error
    except hub.errors.RepositoryNotFoundError as error:
        raise InputError(
            f"{absent}, and no such model on {hub.constants.ENDPOINT}; correct the name, or log in with "
            "'hf auth login' if it is private"
        ) from error
    except Exception as error:  # many kinds of network errors
        raise InputError(
            f"{absent}, not in the cache of the hub, and {hub.constants.ENDPOINT} {_why(error, hub)}; correct the "
            "path, or fetch the model once with network, or copy its folder here"
        ) from error
    return Path(folder)


def read_config(folder: Path) -> str:
    """The text of a model folder's config.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return (folder / CONFIG).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{folder / CONFIG}: cannot be read ({error}); copy it again") from error


def publish(folder: Path, model: HubId, private: bool) -> str:
    """Upload a model folder as one commit. The repository is made if there is none.

    Args:
        folder: the model folder.
        model: where to; a revision must be an existing branch.
        private: whether a new repository is private.

    Returns:
        the address of the commit.

    Raises:
        InputError: the hub cannot be reached or refuses, or the extra ``hub`` is missing.
    """
    hub = _library()
    try:
        interface = hub.HfApi()
        interface.create_repo(model.repository, private=private, exist_ok=True)
        done = interface.upload_folder(
            repo_id=model.repository,
            folder_path=folder,
            revision=model.revision,
            allow_patterns=list(MODEL_FILES),
            commit_message="Upload a model of sgovss",
        )
    except ValueError as error:  # of the hub's own client, about the name or the card
        raise InputError(
            f"push_to_hub: {model.repository}: {hub.constants.ENDPOINT} refuses the model ({_flat(error)}); change "
            "what it names, or write the folder with save_pretrained, mend README.md and upload it with 'hf upload'"
        ) from error
    except Exception as error:  # many kinds of network errors
        raise InputError(
            f"push_to_hub: {model.repository}: {hub.constants.ENDPOINT} {_why(error, hub)}; log in with "
            "'hf auth login' as an owner of the repository, and check the network"
        ) from error
    return str(done.commit_url)


def _library(problem: str = "") -> ModuleType:
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
    except ImportError as error:
        raise InputError(f"{problem}models of the hub need the extra 'hub': pip install 'sgovss[hub]'") from error
    return huggingface_hub


def _why(error: Exception, hub: ModuleType) -> str:
    """Why the hub gave no answer that helps, worded to follow its address."""
    if hub.constants.HF_HUB_OFFLINE:
        return "is not asked, because HF_HUB_OFFLINE is set"
    response = getattr(error, "response", None)
    if response is not None:
        said = getattr(error, "server_message", None)
        return f"answers with status {response.status_code}" + (f" ({_flat(said)})" if said else "")
    first = (str(error).splitlines() or [""])[0][:120]
    return f"gives no answer ({type(error).__name__}: {first})"


def _flat(message: object) -> str:
    """The start of a message, in one line."""
    return " ".join(str(message).split())[:200]


def cached_repositories() -> list[tuple[str, int, Path]]:
    """Models in the cache of the hub: repository, bytes on disk, and the folder of its newest commit there."""
    try:
        hub = _library()
    except InputError:
        return []
    if not Path(hub.constants.HF_HUB_CACHE).is_dir():
        return []
    found = hub.scan_cache_dir(hub.constants.HF_HUB_CACHE).repos
    newest = ((each, max(each.revisions, key=lambda one: one.last_modified)) for each in found if each.revisions)
    models = [(each.repo_id, each.size_on_disk, one.snapshot_path) for each, one in newest if each.repo_type == "model"]
    return sorted(models)
