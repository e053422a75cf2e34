"""The texts of a model folder: its card (README.md) and its STAC item (mlm.json)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from tabulate import tabulate
from torch import nn

from sgovss.errors import InputError
from sgovss.files import sha256
from sgovss.fingerprint import fingerprint
from sgovss.hub import CONFIG, WEIGHTS
from sgovss.modeling.model_folder import BaseWeights
from sgovss.modeling.text_embedder import TextEmbedder
from sgovss.version import __version__

_MLM = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
_FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
_SCORES = ("mIoU", "seen_mIoU", "unseen_mIoU", "harmonic_mIoU")
_UNKNOWN = "not stated"
_OWN_LICENCE, _OWN_SCORES = "sgovss:licence", "sgovss:scores"
"""Properties of the STAC item from which a copy of the model takes over what its card says."""
_HUB_LICENCES = frozenset(
    [
        *("apache-2.0", "mit", "isc", "unlicense", "bsd-2-clause", "bsd-3-clause", "openrail", "odbl", "pddl"),
        *("mpl-2.0", "lgpl-3.0", "gpl-3.0", "agpl-3.0", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nd-4.0"),
        *("cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0"),
    ]
)
"""The hub's names of usual licences. It refuses a card with a name that it does not know."""
_CHECKED = {"model": "NAME", "activation": "ACTIVATION", "templates": "TEMPLATES", "dense": "DENSE"}
"""Settings of an evaluation that are those of the model, and their keys below MODEL.CLIP."""


@dataclass(frozen=True)
class ModelFacts:
    """What a card says of a model.

    Attributes:
        name: of the model.
        trained_on: names of the training sets; empty for CLIP without fine-tuning.
        words: names of the training classes; None if the dataset file of the training is not at hand.
        ground_sample_distance: metres per pixel of the training images; 0 if unknown or mixed.
        architecture, base: the CLIP model, and the weights it was trained from.
        text_sha256: digest of the text encoder, which training does not change.
        weights_sha256: digest of ``model.safetensors``.
        parameters: number of values in it.
        licence: of the model; None if it is not stated.
        scores: of the model by test set, see :func:`read_scores`.
    """

    name: str
    trained_on: Sequence[str]
    words: Sequence[str] | None
    ground_sample_distance: float
    architecture: str
    base: BaseWeights
    text_sha256: str
    weights_sha256: str
    parameters: int
    licence: str | None
    scores: Mapping[str, Mapping[str, Any]]


def collect_facts(
    model: nn.Module,
    cfg: CfgNode,
    folder: Path,
    base: BaseWeights,
    licence: str | None,
    scores: Mapping[str, Mapping[str, Any]],
    name: str | None = None,
) -> ModelFacts:
    """Collect the facts of a model whose weights are in a folder already.

    Args:
        model: the model.
        cfg: its config, with DATASETS.TRAIN empty for CLIP without fine-tuning.
        folder: the model folder.
        base: the CLIP weights that the model comes from.
        licence: of the model.
        scores: of the model, see :func:`read_scores`; empty for none.
        name: of the model; None for that of the folder.
    """
    trained_on = tuple(cfg.DATASETS.TRAIN)
    embedder = model.get_submodule("text_embedder")
    if isinstance(embedder, TextEmbedder):
        embedder.build()  # the digest is that of built modules, whose weights have another order
    return ModelFacts(
        name=name or folder.resolve().name,
        trained_on=trained_on,
        words=_words(cfg) if trained_on else (),
        ground_sample_distance=cfg.INPUT.GROUND_SAMPLE_DISTANCE,
        architecture=cfg.MODEL.CLIP.NAME,
        base=base,
        text_sha256=fingerprint(embedder).partition("/")[0],
        weights_sha256=sha256(folder / WEIGHTS),
        parameters=sum(value.numel() for value in model.state_dict().values()),
        licence=licence,
        scores=scores,
    )


def card(facts: ModelFacts) -> str:
    """The text of README.md."""
    words = _UNKNOWN if facts.words is None else ", ".join(facts.words) or "none: CLIP without fine-tuning"
    gsd = f"{facts.ground_sample_distance:g} m per pixel" if facts.ground_sample_distance else "unknown or mixed"
    rows = [
        ["trained on", ", ".join(facts.trained_on) or "nothing: CLIP without fine-tuning"],
        ["words in training", words],
        ["ground sample distance", gsd],
        ["licence", facts.licence or _UNKNOWN],
        ["architecture", facts.architecture],
        ["base weights", f"{_base(facts)}, text encoder SHA-256 {facts.text_sha256}"],
        [WEIGHTS, f"{facts.parameters:,} values, SHA-256 {facts.weights_sha256}"],
        ["written by", f"sgovss {__version__}"],
    ]
    header = f"---\nlibrary_name: sgovss\npipeline_tag: image-segmentation\n{_hub_licence(facts.licence or '')}---\n"
    return f"""{header if facts.licence else ""}# {facts.name}

Open-vocabulary segmentation of remote-sensing images: the classes are given as text.

```python
import sgovss

predict = sgovss.Predictor.from_pretrained("{facts.name}")
result = predict(image, "building, road, tree|forest, water")  # image: (H, W, 3) uint8 RGB
```

{tabulate(rows, headers=["", ""], tablefmt="github", disable_numparse=True)}

{_score_table(facts)}
"""


def _hub_licence(licence: str) -> str:
    """What the header of a card says of the licence, in the hub's words."""
    name = re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-.")
    if name in _HUB_LICENCES:
        return f"license: {name}\n"
    return "license: other\n" + (f"license_name: {json.dumps(name)}\n" if name not in ("", "other") else "")


def stac_item(facts: ModelFacts) -> dict[str, Any]:
    """The content of mlm.json: a STAC item with the extension for machine learning models, version 1.4.

    The extension takes a name of letters, digits and ``_.-`` that starts with a letter, and a version of three numbers;
    STAC takes a licence that is one word. ``id`` and the card hold what was given.
    """
    image = {"shape": [-1, 3, -1, -1], "dim_order": ["batch", "channel", "height", "width"], "data_type": "uint8"}
    scores = {"shape": [-1, -1, -1, -1], "dim_order": ["batch", "class", "height", "width"], "data_type": "float32"}
    tasks = ["semantic-segmentation"]
    properties = {
        "description": "Open-vocabulary segmentation; the classes are given as text.",
        "datetime": None,
        "start_datetime": "1900-01-01T00:00:00Z",
        "end_datetime": "9999-12-31T23:59:59Z",
        "license": facts.licence if facts.licence and re.fullmatch(r"[\w.+-]+", facts.licence, re.ASCII) else "other",
        **({"gsd": facts.ground_sample_distance} if facts.ground_sample_distance else {}),
        "mlm:name": _plain_name(facts.name),
        "mlm:architecture": f"SGOVSS with {facts.architecture}",
        "mlm:framework": "PyTorch",
        "mlm:framework_version": ".".join(re.findall(r"\d+", torch.__version__)[:3]),
        "mlm:tasks": tasks,
        "mlm:total_parameters": facts.parameters,
        "mlm:hyperparameters": _training(facts),
        "mlm:pretrained": True,
        "mlm:pretrained_source": ", ".join([_base(facts), *facts.trained_on]),
        **({_OWN_LICENCE: facts.licence} if facts.licence else {}),
        **({_OWN_SCORES: dict(facts.scores)} if facts.scores else {}),
        "mlm:input": [{"name": "RGB image, 0 to 255", "bands": [], "input": image}],
        "mlm:output": [
            {"name": "scores of the given classes", "tasks": tasks, "result": scores, "classification:classes": []}
        ],
    }
    assets = {
        "weights": {
            "href": f"./{WEIGHTS}",
            "type": "application/octet-stream; framework=pytorch",
            "title": "Weights",
            "roles": ["mlm:model", "mlm:weights"],
            "mlm:artifact_type": "safetensors.torch.save_file",
            "file:checksum": f"1220{facts.weights_sha256}",  # a multihash: SHA-256 of 32 bytes
        },
        "config": {"href": f"./{CONFIG}", "type": "application/yaml", "title": "Config", "roles": ["metadata"]},
    }
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [_MLM, _FILE],
        "id": facts.name,
        "geometry": None,
        "properties": properties,
        "assets": assets,
        "links": [],
    }


def _plain_name(name: str) -> str:
    """A name that the extension for machine learning models takes."""
    plain = re.sub(r"[^a-zA-Z0-9]*$", "", re.sub(r"[^a-zA-Z0-9_.-]+", "-", name))
    return plain if re.fullmatch(r"[a-zA-Z].+[a-zA-Z0-9]", plain) else f"model-{plain.lstrip('_.-') or 'sgovss'}"


def _training(facts: ModelFacts) -> dict[str, Any]:
    """What the model was made of, as far as it is known."""
    made = {
        "base_weights": facts.base.name,
        "base_weights_sha256": facts.base.sha256,
        "text_encoder_sha256": facts.text_sha256,
        "trained_on": list(facts.trained_on),
        "words": list(facts.words or ()),
    }
    return {key: value for key, value in made.items() if value}


def _base(facts: ModelFacts) -> str:
    return f"{facts.base.name} (SHA-256 {facts.base.sha256})" if facts.base.sha256 else facts.base.name


def _words(cfg: CfgNode) -> list[str] | None:
    try:
        from sgovss.data.registration import register_datasets, training_vocabulary  # with Detectron2's data loading

        register_datasets(cfg.DATASETS.SPECIFICATIONS)
        return training_vocabulary(cfg.DATASETS.TRAIN, cfg.DATASETS.UNSEEN).names
    except InputError:  # a dataset file of another machine
        return None


def read_scores(folder: Path, cfg: CfgNode) -> dict[str, dict[str, Any]]:
    """Read the scores of a model.

    Args:
        folder: OUTPUT_DIR of an evaluation of the model.
        cfg: the config of the model.

    Returns:
        by test set, the number of ``images``, the scores in percent or None, and the ``settings`` that are the model's.
        Other content of an evaluation, such as paths, is of the machine it was made on.

    Raises:
        InputError: there are no scores, they cannot be read, or they are of a model with other settings.
    """
    files = sorted((folder / "evaluation").glob("*.json"))
    if not files:
        raise InputError(
            f"--scores {folder}: no {folder / 'evaluation' / '*.json'}; give the OUTPUT_DIR of an evaluation"
        )
    scores = {path.stem: _read(path) for path in files}
    for name, each in scores.items():
        for setting, found in _other_settings(each, cfg).items():
            key = _CHECKED[setting]
            raise InputError(
                f"--scores {folder}: {name} was measured with MODEL.CLIP.{key} {found}, but the model has "
                f"{cfg.MODEL.CLIP[key]}; evaluate this model, and give its OUTPUT_DIR"
            )
    return scores


def stated_licence_and_scores(
    properties: Mapping[str, Any], cfg: CfgNode
) -> tuple[str | None, dict[str, dict[str, Any]]]:
    """The licence and the scores that the STAC item of a model states; None and empty if it states none.

    Args:
        properties: of the item, see :func:`sgovss.modeling.model_folder.stated_properties`.
        cfg: the config of the model as it is now. Scores with other settings are left out.
    """
    licence, stated = properties.get(_OWN_LICENCE), properties.get(_OWN_SCORES)
    sound = {name: _score(each) for name, each in stated.items()} if isinstance(stated, dict) else {}
    scores = {name: each for name, each in sound.items() if each and not _other_settings(each, cfg)}
    return licence if isinstance(licence, str) else None, scores


def _score(content: Any) -> dict[str, Any] | None:
    """What a card keeps of an evaluation, see :func:`read_scores`; None if it is none."""
    if not isinstance(content, dict) or not isinstance(content.get("images"), int):
        return None
    if not all(key in content and isinstance(content[key], float | int | None) for key in _SCORES):
        return None
    settings = content.get("settings", {})
    known = {key: settings[key] for key in _CHECKED if key in settings} if isinstance(settings, dict) else {}
    return {**{key: content[key] for key in ("images", *_SCORES)}, "settings": known}


def _other_settings(score: Mapping[str, Any], cfg: CfgNode) -> dict[str, Any]:
    """The settings of an evaluation that are not the model's."""
    own = {setting: cfg.MODEL.CLIP[key] for setting, key in _CHECKED.items()}
    return {each: found for each, found in score["settings"].items() if found not in (None, own[each])}


def _read(path: Path) -> dict[str, Any]:
    try:
        score = _score(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InputError(f"--scores: {path}: cannot be read ({error}); evaluate the model again") from error
    if score is None:
        raise InputError(f"--scores: {path} is not an evaluation of sgovss; remove it, or evaluate the model again")
    return score


def _score_table(facts: ModelFacts) -> str:
    """Scores, and the command that measures them; or that there are none."""
    if not facts.scores:
        return "No scores are recorded."
    rows = [
        [name, str(each["images"]), *("-" if each[key] is None else f"{each[key]:.2f}" for key in _SCORES)]
        for name, each in facts.scores.items()
    ]
    names = ",".join(f"'{name}'" for name in facts.scores)
    table = tabulate(rows, headers=["test set", "images", *_SCORES], tablefmt="github", disable_numparse=True)
    command = f'sgovss train --eval-only --config-file {CONFIG} MODEL.WEIGHTS . DATASETS.TEST "({names},)"'
    return f"In percent, measured by `{command}` in this folder:\n\n{table}"
