"""The grammar of views."""

import pytest

from sgovss.config import load_config
from sgovss.errors import InputError
from sgovss.view_set import QUALITIES, ViewSet, parse_views


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ViewSet()),
        ([], ViewSet()),
        ("1", ViewSet()),
        ("turns", ViewSet(turns=True)),
        (["turns"], ViewSet(turns=True)),
        ("mirror", ViewSet(mirror=True)),
        (" Turns , 1, 1.5 ", ViewSet(turns=True, scales=(1.0, 1.5))),
        ([1, 1.5, "mirror"], ViewSet(mirror=True, scales=(1.0, 1.5))),
        (("1.5",), ViewSet(scales=(1.5,))),
        ("turns,mirror,0.5,2", ViewSet(True, True, (0.5, 2.0))),
    ],
)
def test_views_are_read(text, expected):
    assert parse_views(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("turn", "'turn' is not a view; give 'turns', 'mirror', or a scale"),
        ("turns,,1", "'' is not a view"),
        ("turns,turns", "has an item twice"),
        ("1,1.0", "has an item twice"),
        ("0", "the scale 0 is out of range"),
        ("-1", "out of range"),
        ("5", "out of range; give 'turns', 'mirror', or a scale from 0.25 to 4"),
        ("nan", "out of range"),
        ("inf", "out of range"),
        ([True], "'true' is not a view"),
        ([None], "'none' is not a view"),
        ([[1]], "is not a view"),
    ],
)
def test_wrong_views_are_named(text, message):
    with pytest.raises(InputError) as error:
        parse_views(text, "--views")
    assert str(error.value).startswith("--views: ") and message in str(error.value)


def test_a_config_with_wrong_views_is_refused():
    for value in ("['round']", "[0]", "('turns','turns')"):
        with pytest.raises(InputError, match=r"^TEST\.VIEWS: "):
            load_config("sgovss_tiny.yaml", ["TEST.VIEWS", value])
    with pytest.raises(InputError, match=r"^TEST\.AUG\.ENABLED: TEST\.VIEWS is set too"):
        load_config("sgovss_tiny.yaml", ["TEST.VIEWS", "['turns']", "TEST.AUG.ENABLED", "True"])


def test_qualities_are_views_and_fast_is_one():
    counts = [len(parse_views(QUALITIES[name])) for name in ("fast", "good", "best")]
    assert counts[0] == 1 and counts == sorted(counts) and len(set(counts)) == 3
