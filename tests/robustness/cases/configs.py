"""Configs that are malformed, have wrong values or would run a program."""

from __future__ import annotations

from pathlib import Path

from tests.robustness.case import Case, refused
from tests.robustness.place import Place


def config(content: bytes | str):
    """Train with a config file of this content."""
    return lambda place: ["--config-file", str(place.write("mine.yaml", content))]


def option(key: str, value: str):
    """Train with one more option."""
    return lambda place: place.train(key, value)


def launched(*options: str):
    """Train with these options of several processes."""

    def build(place: Place) -> list[str]:
        first, file, *rest = place.train()
        return [first, file, *options, *rest]

    return build


def trap(place: Place) -> list[str]:
    trace = place.folder / "trace"
    return config(f"OUTPUT_DIR: !!python/object/apply:os.system ['touch {trace}']\n")(place)


def no_trace(folder: Path) -> None:
    assert not (folder / "trace").exists()


_NO_CONFIG = "…/mine.yaml: not a config, or its _BASE_ is not one; expected keys with values, such as 'SEED: 1'"

CASES: list[Case] = [
    refused("no config given", "train_net", lambda _: [], "--config-file: give a config, such as sgovss_tiny.yaml"),
    refused(
        "config that does not exist",
        "train_net",
        lambda _: ["--config-file", "tiny.yaml"],
        "no file 'tiny.yaml' among the configs of sgovss; there are: base.yaml, …",
    ),
    refused("empty config file", "train_net", config(""), _NO_CONFIG),
    refused("config that is a list", "train_net", config("- SEED\n"), _NO_CONFIG),
    refused(
        "config with bytes that are not text",
        "train_net",
        config(bytes(range(128, 256))),
        "…/mine.yaml: not UTF-8 text; save it as UTF-8",
    ),
    refused(
        "config indented with tabs",
        "train_net",
        config("SOLVER:\n\tMAX_ITER: 5\n"),
        "…/mine.yaml: not valid YAML: while scanning for the next token found character '\\t' that cannot start any "
        "token in …, line 2, column 1",
    ),
    refused(
        "config that names itself as `_BASE_`",
        "train_net",
        config("_BASE_: mine.yaml\n"),
        "…/mine.yaml: nested without end; check that its _BASE_ does not lead back to it",
    ),
    refused(
        "config whose `_BASE_` does not exist",
        "train_net",
        config("_BASE_: other.yaml\n"),
        "…/mine.yaml: cannot read …/other.yaml (No such file or directory); correct _BASE_ or the path",
    ),
    refused(
        "config of 3,000 nested lists",
        "train_net",
        config("[" * 3000),
        "…/mine.yaml: nested without end; check that its _BASE_ does not lead back to it",
    ),
    refused(
        "config with a YAML tag that would run a program (it does not run)",
        "train_net",
        trap,
        "…/mine.yaml: not valid YAML: could not determine a constructor for the tag "
        "'tag:yaml.org,2002:python/object/apply:os.system' in …",
        proves=no_trace,
        as_process=True,
    ),
    refused(
        "option with an unknown key",
        "train_net",
        option("SOLVER.MAX_ITERS", "5"),
        "there is no key 'SOLVER.MAX_ITERS'; did you mean SOLVER.MAX_ITER?",
    ),
    refused(
        "option with a value of the wrong type",
        "train_net",
        option("SOLVER.MAX_ITER", "many"),
        "SOLVER.MAX_ITER: 'many' is of type str; give a whole number",
    ),
    refused(
        "training without a training set",
        "train_net",
        option("DATASETS.TRAIN", "()"),
        "DATASETS.TRAIN is empty; name a training set, or give --eval-only to evaluate only",
    ),
    refused(
        "option behind a config key",
        "train_net",
        lambda place: place.train("SEED", "1", "--resume"),
        "--resume: stands behind a config key; write options before the first key, and before --opts",
    ),
    refused(
        "option without a value",
        "train_net",
        lambda place: place.train("SEED"),
        "options come in pairs of KEY VALUE, but 'SEED' has no value",
    ),
    refused(
        "option with the value None",
        "train_net",
        option("SOLVER.MAX_ITER", "None"),
        "SOLVER.MAX_ITER: has no value; give one, or leave the key out",
    ),
    refused(
        "training with 0 steps",
        "train_net",
        option("SOLVER.MAX_ITER", "0"),
        "SOLVER.MAX_ITER: 0 is not allowed; give a number above 0",
    ),
    refused(
        "unknown precision of the evaluation, found before training starts",
        "train_net",
        option("TEST.PRECISION", "float8"),
        "TEST.PRECISION: 'float8' is not allowed; use float32, bfloat16 or float16",
    ),
    refused(
        "device that does not exist",
        "train_net",
        option("MODEL.DEVICE", "cuda:99"),
        "MODEL.DEVICE: this machine has no device 'cuda:99'; use cpu, or a device that it has",
    ),
    refused(
        "model that open_clip does not have",
        "train_net",
        option("MODEL.CLIP.NAME", "ViT-Q"),
        "MODEL.CLIP.NAME: open_clip has no model 'ViT-Q'; use 'tiny' or a name of open_clip.list_models(), such as "
        "convnext_large_d_320 or ViT-B-16",
    ),
    refused(
        "training with every class held out",
        "train_net",
        option("DATASETS.UNSEEN", "('field','river','hedge')"),
        "DATASETS.UNSEEN holds out every class of fields_train; leave at least one",
    ),
    refused(
        "held-out class that the dataset does not have",
        "train_net",
        option("DATASETS.UNSEEN", "('street',)"),
        "DATASETS.UNSEEN: 'street' is not a class of fields_train; its classes are field, river, hedge",
    ),
    refused(
        "held-out classes in a file that does not exist",
        "train_net",
        option("DATASETS.UNSEEN", "('unseen.txt',)"),
        "DATASETS.UNSEEN: unseen.txt: cannot read this vocabulary file (No such file or directory); correct the path",
    ),
    refused(
        "training set named twice",
        "train_net",
        option("DATASETS.TRAIN", "('fields_train','fields_train')"),
        "DATASETS.TRAIN names fields_train more than once; name each dataset once",
    ),
    refused(
        "training crops larger than the memory",
        "train_net",
        option("INPUT.CROP.SIZE", "[10000000,10000000]"),
        "not enough memory for another 273 TiB; in training, lower SOLVER.IMS_PER_BATCH, INPUT.CROP.SIZE or …",
    ),
    refused(
        "training on two machines without an address",
        "train_net",
        launched("--num-machines", "2"),
        "--num-machines 2: give --dist-url tcp://HOST:PORT, with the name of machine 0 and a free port of it, on every "
        "machine",
    ),
    refused(
        "address of processes without tcp://",
        "train_net",
        launched("--num-gpus", "2", "--dist-url", "127.0.0.1:29778"),
        "--dist-url 127.0.0.1:29778: not an address where processes can meet; give tcp://HOST:PORT, such as "
        "tcp://127.0.0.1:29500",
    ),
    refused(
        "number of a machine that is too large",
        "train_net",
        launched("--num-machines", "2", "--machine-rank", "2", "--dist-url", "tcp://127.0.0.1:29790"),
        "--machine-rank 2: the 2 machines of --num-machines have the numbers 0 to 1",
    ),
]
