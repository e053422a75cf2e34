"""Choose the words of classes by images with labels: which names, of many candidates, give the best maps.

examples:
  sgovss words --images photos/ --labels masks/ --vocabulary "building, road, tree|forest, water" --output output/words
  sgovss words --images photos/ --points points.csv --candidates words.yaml --output output/words
  sgovss words --dataset dubai_mbrsc --split val --offsets --output output/words
  sgovss words --images photos/ --vocabulary "building, road, tree" --output output/words

Labels are images of class values with the names of the photographs; points are a table with the columns x, y, class
and image (x and y in pixels), or GeoJSON. The gain is measured on images that did not choose. vocabulary.yaml has the
chosen words for --vocabulary of 'sgovss segment'; report.html and words.json say how they were chosen. Without labels
nothing is chosen, and the page gives hints.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import sgovss._detectron2  # noqa: F401  before any other import of Detectron2, to suppress its warnings

# isort: split
from sgovss.class_entries import ClassEntry
from sgovss.data.generated import ensure_generated
from sgovss.data.specification_file import find_specification
from sgovss.errors import InputError, command
from sgovss.files import sole_run
from sgovss.inference.predictor import Predictor
from sgovss.mapping.options import SegmentOptions
from sgovss.precision import AUTO
from sgovss.view_set import QUALITIES
from sgovss.vocabulary import Vocabulary
from sgovss.word_choice.candidates import collect
from sgovss.word_choice.choosing import ChoiceOptions, choose_words, hint_words
from sgovss.word_choice.material import (
    Material,
    from_dataset,
    from_folder,
    from_label_folder,
    from_points,
    label_values,
)
from sgovss.word_choice.points import read_points
from sgovss.word_choice.report import HINT, PAGE, VOCABULARY, write_choice, write_hints

_INTERRUPTED = 130  # exit status of a command that the user interrupts


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``sgovss words``; returns 0, or 2 if the input is wrong."""
    args = _parser().parse_args(argv)
    try:
        return _run(args, shlex.join(["sgovss", "words", *(sys.argv[1:] if argv is None else argv)]))
    except KeyboardInterrupt:
        kept = f"; encoded images are kept in {args.cache}" if args.cache else "; --cache DIR keeps encoded images"
        print(f"\ninterrupted: no words were chosen{kept}", file=sys.stderr)
        return _INTERRUPTED


def _run(args: argparse.Namespace, line: str) -> int:
    _expect_consistent(args)
    options = ChoiceOptions(args.folds, args.random, args.seed, args.offsets, args.cache)
    listed = None if args.candidates is None else Vocabulary.from_file(args.candidates)
    before = _words_in_use(args, listed)
    candidates = collect(before, listed, args.built_in)
    material = _material(args, before)
    model = SegmentOptions(config_file=args.config_file, opts=tuple(args.opts), views=args.views, quality=args.quality)
    for note in (*before.notes, *material.notes):
        print(f"note: {note}", file=sys.stderr)
    with sole_run(args.output):
        predictor = Predictor(model.model_name, options=model.config_options, precision=args.precision)
        if not predictor.cfg.MODEL.CLIP.SYNONYMS:
            raise InputError("MODEL.CLIP.SYNONYMS: the model uses first names only; set it to True to choose words")
        print(f"{len(material.samples)} images, {len(before)} classes, {len(candidates.words)} words")
        settings = {"command": line, "model": model.model_name}
        if not material.labelled:
            write_hints(hint_words(predictor, material, candidates), args.output, settings)
            print(f"{HINT}\nreport: {args.output / PAGE}")
            return 0
        choice = choose_words(predictor, material, candidates, options)
        write_choice(choice, args.output, settings)
    print("\n".join(choice.lines))
    for old, new in zip(before, choice.chosen, strict=True):
        print(f"  {old.name}: {' | '.join(new.scored_names)}")
    print(f"words: {args.output / VOCABULARY}\nreport: {args.output / PAGE}")
    return 0


def _expect_consistent(args: argparse.Namespace) -> None:
    """Raise an InputError if options exclude each other or one is missing."""
    if (args.images is None) == (args.dataset is None):
        raise InputError("--images: give a folder of images, or --dataset, and not both")
    of_labels = {"--values": args.values, "--ignore": args.ignore}
    given = [name for name, value in of_labels.items() if value is not None]
    if given and args.labels is None:
        raise InputError(f"{given[0]}: is about the label images of --labels; leave it out")
    if args.dataset is not None and (args.labels or args.points):
        raise InputError("--dataset: has labels of its own; leave out --labels and --points")
    if args.dataset is None and (args.split or args.root):
        raise InputError("--split and --root: are about --dataset; leave them out")
    if args.offsets and args.images is not None and not (args.labels or args.points):
        raise InputError("--offsets: are chosen by labels; give --labels or --points")


def _words_in_use(args: argparse.Namespace, listed: Vocabulary | None) -> Vocabulary:
    """The vocabulary in use: as given, else that of the dataset, else the first names of the candidates."""
    if args.vocabulary is not None:
        given = Vocabulary.parse(args.vocabulary)
        if args.dataset is not None and len(given) != len(classes := find_specification(args.dataset).vocabulary):
            raise InputError(
                f"--vocabulary: {len(given)} classes, but {args.dataset} has {len(classes)}; name its classes, in "
                f"their order: {', '.join(classes.names)}"
            )
        return given
    if args.dataset is not None:
        return find_specification(args.dataset).vocabulary
    if listed is None:
        raise InputError("--vocabulary: give the classes, such as 'building, road', or --candidates")
    return Vocabulary([ClassEntry(entry.name, color=entry.color) for entry in listed], "--candidates")


def _material(args: argparse.Namespace, before: Vocabulary) -> Material:
    if args.dataset is not None:
        spec = find_specification(args.dataset)
        if spec.generator is not None:
            ensure_generated(spec, args.root)
        return from_dataset(spec, args.split or next(iter(spec.splits)), args.root)
    if args.labels is not None:
        return from_label_folder(args.images, args.labels, label_values(args.values, args.ignore, len(before)))
    if args.points is not None:
        points, notes = read_points(args.points, args.images, before)
        material = from_points(args.images, points, len(before))
        return Material(material.samples, [*notes, *material.notes])
    return from_folder(args.images)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="sgovss words",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of images")
    labels = parser.add_mutually_exclusive_group()
    labels.add_argument("--labels", type=Path, metavar="DIR", help="folder of label images with the names of the "
                        "images; their values are those of --values")  # fmt: skip
    labels.add_argument("--points", type=Path, metavar="FILE", help="labelled points: a table with the columns x, y, "
                        "class, image, or GeoJSON; without image, x and y are on the ground")  # fmt: skip
    parser.add_argument("--dataset", metavar="NAME_OR_YAML", help="a dataset that comes with sgovss, or a YAML file, "
                        "in place of --images and --labels")  # fmt: skip
    parser.add_argument("--split", help="of the dataset; default its first")
    parser.add_argument("--root", type=Path, help="parent of the dataset's folder; default $DETECTRON2_DATASETS")
    parser.add_argument("--vocabulary", metavar="CLASSES", help="the words in use, as for 'sgovss segment'; default "
                        "those of the dataset, or the first name of each class in --candidates")  # fmt: skip
    parser.add_argument("--candidates", metavar="FILE", help="further words: a vocabulary file, in which the synonyms "
                        "of a class are its candidates")  # fmt: skip
    parser.add_argument("--no-built-in", dest="built_in", action="store_false", help="only the words in use and those "
                        "of --candidates, without the lists that come with sgovss")  # fmt: skip
    parser.add_argument("--values", metavar="V,V,...", help="label values of the classes, in their order, several of a "
                        "class separated by '|'; default 0,1,2,...")  # fmt: skip
    parser.add_argument("--ignore", metavar="V,...", help="label values of pixels without a class; default 255")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder for the results")
    parser.add_argument("--offsets", action="store_true", help="also choose an offset of each class; written only if "
                        "it adds to the mIoU of images that did not choose it")  # fmt: skip
    parser.add_argument("--folds", type=int, default=5, metavar="N", help="blocks of images that are left out in turn; "
                        "default 5")  # fmt: skip
    parser.add_argument(
        "--random", type=int, default=100, metavar="N", help="random choices in the spread; default 100"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random choices; default 0")
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="keep encoded images here, for a run with other words"
    )
    parser.add_argument("--config-file", metavar="FILE", help="as for 'sgovss segment'; default the embedded model")
    parser.add_argument("--precision", choices=(AUTO, "float32", "bfloat16"), default=AUTO, help="as for 'sgovss "
                        "segment'")  # fmt: skip
    views = parser.add_mutually_exclusive_group()
    views.add_argument("--views", metavar="VIEWS", help="as for 'sgovss segment'")
    views.add_argument("--quality", choices=QUALITIES, help="as for 'sgovss segment'")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config options; "
                        "must come last")  # fmt: skip
    return parser
