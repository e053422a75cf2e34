"""Output folders that cannot be written to, or that another run writes to."""

from __future__ import annotations

from tests.robustness.case import Case, refused
from tests.robustness.place import Place


def below_a_file(command: str):
    """Write to a folder below a file, which even root cannot do."""

    def build(place: Place) -> list[str]:
        place.output = place.write("taken", "") / "out"
        return getattr(place, command)()

    return build


def named_too_long(place: Place) -> list[str]:
    place.output = place.folder / ("long" * 75)
    return place.demo()


def on_proc(place: Place) -> list[str]:
    argv = place.demo()
    return [*argv[: argv.index("--output") + 1], "/proc/sgovss", *argv[argv.index("--output") + 2 :]]


def taken_by_another(command: str, folder: str = "out", lock: str = ".lock"):
    """Write to a folder while another run holds its lock."""

    def build(place: Place) -> list[str]:
        from sgovss.files import sole_run

        argv = getattr(place, command)()
        place.stack.enter_context(sole_run(place.folder / folder, lock))
        return argv

    return build


def inside_the_source(place: Place) -> list[str]:
    place.output = place.folder / "raw"
    return place.prepare()


_TAKEN = "another run is writing here; wait until it ends, or give another output folder"

CASES: list[Case] = [
    refused(
        "output folder that cannot be written to",
        "demo",
        below_a_file("demo"),
        "…/taken/out: cannot write here (Not a directory); choose another output folder",
    ),
    refused(
        "output folder with a name that is too long",
        "demo",
        named_too_long,
        f"…/{'long' * 75}: cannot write here (File name too long); choose another output folder",
    ),
    refused(
        "output folder of training that cannot be written to",
        "train_net",
        below_a_file("train"),
        "…/taken/out: cannot write here (Not a directory); choose another output folder",
    ),
    refused(
        "dataset root that cannot be written to",
        "prepare",
        below_a_file("prepare"),
        "…/taken/out/shore/.prepared: cannot write here (Not a directory); choose another output folder",
        as_process=True,
    ),
    refused(
        "output in a system folder",
        "demo",
        on_proc,
        "/proc/sgovss: cannot write here (No such file or directory); choose another output folder",
    ),
    refused("two runs with the same output folder", "demo", taken_by_another("demo"), f"…/out: {_TAKEN}"),
    refused(
        "two training runs with the same output folder",
        "train_net",
        taken_by_another("train"),
        f"…/out: {_TAKEN}",
        as_process=True,
    ),
    refused(
        "two preparations of the same split",
        "prepare",
        taken_by_another("prepare", "out/shore/.prepared", ".shore_train.lock"),
        f"…/out/shore/.prepared: {_TAKEN}",
        as_process=True,
    ),
    refused(
        "prepared data inside the source folder",
        "prepare",
        inside_the_source,
        "…/raw/shore/images: the prepared data would be inside the source, or contain it; give another --root",
    ),
]
