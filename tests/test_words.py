"""Class names as users type, paste or save them: read as meant, or one line."""

from __future__ import annotations

import pytest

from sgovss.errors import InputError
from sgovss.inference.rejection import Rejection
from sgovss.vocabulary import Vocabulary

THREE = Vocabulary.from_string("building, road, tree")


@pytest.mark.parametrize(
    "text",
    [
        # Separators of other programs and keyboards.
        "building . road . tree .", "building. road. tree.", "building. road . tree",
        "building; road; tree", "building；road；tree", "building\troad\ttree",
        "building，road，tree", "building、road、tree", "building، road، tree",
        "building。road。tree。", "building, road, tree.",
        # Lines.
        "building\nroad\ntree", "building\r\nroad\r\n\r\ntree\r\n", "building,\nroad,\ntree,", "building\\nroad\\ntree",
        "building,\nroad, tree", "# land cover\nbuilding # all of them\n\n// more\nroad\ntree",
        "- building\n- road\n- tree", "• building\n• road\n• tree", "* building\n* road\n* tree",
        # Numbers.
        "1. building\n2. road\n3. tree", "1) building, 2) road, 3) tree", "1. building 2. road 3. tree",
        "0: building, 1: road, 2: tree", "0 building\n1 road\n2 tree", "(1) building; (2) road; (3) tree",
        "0\tbuilding\n1\troad\n2\ttree", "building: 0, road: 1, tree: 2", "building=1\nroad=2\ntree=3",
        # Lists of Python, JSON and YAML.
        "['building', 'road', 'tree']", '["building", "road", "tree"]', "('building', 'road', 'tree')",
        "[building, road, tree]", "{'building', 'road', 'tree'}", "{0: 'building', 1: 'road', 2: 'tree'}",
        '{"building": 0, "road": 1, "tree": 2}', '{"classes": ["building", "road", "tree"]}', "(building, road, tree)",
        "classes = ['building', 'road', 'tree']", "names:\n  - building\n  - road\n  - tree",
        # Quotation marks, and "and".
        "'building', 'road', 'tree'", '"building, road, tree"', "“building”, “road”, “tree”",
        "«building», «road», «tree»",
        "building, road, and tree", "classes: building, road, tree",
        # A separator at the end, other bullets, letters, numbers in other places.
        "building, road, tree,", "building; road; tree; ", "building, road, tree;", "building，road，tree，",
        "◦ building\n◦ road\n◦ tree", "→ building\n→ road\n→ tree", "- [ ] building\n- [x] road\n- [ ] tree",
        "• building • road • tree", "building ● road ● tree", "a) building, b) road, c) tree",
        "a. building\nb. road\nc. tree", "a) building b) road c) tree", "1: building 2: road 3: tree",
        "1 - building, 2 - road, 3 - tree", "class 1: building, class 2: road, class 3: tree",
        "Class_0: building\nClass_1: road\nClass_2: tree", "building (0), road (1), tree (2)",
        "building: 2, road: 1, tree: 0", "{0:building,1:road,2:tree}", '["0: building", "1: road", "2: tree"]',
        "building 1\nroad 0\ntree 2",
        # A table with spaces, numbers that Markdown counts itself, bullets behind commas.
        "id name\n0 building\n1 road\n2 tree", "Name ID\nbuilding 0\nroad 1\ntree 255", "1. building\n1. road\n1. tree",
        "0) building\n0) road\n0) tree", "* building, * road, * tree", "building, - road, - tree",
        "- building; - road; - tree",
        "There are three classes.\n\n* building\n* road\n* tree", "classes in my image\n- building\n- road\n- tree",
        "building\n- road\n- tree", "-1: building\n0: road\n1: tree", "building: -1, road: 0, tree: 1",
        "-1 building\n0 road\n255 tree", "building 0\nroad 1\ntree 255", '{"-1": "building", "0": "road", "1": "tree"}',
        # Quotation marks of other keyboards, and marks that nobody sees.
        "»building«, »road«, »tree«", "‚building‘, ‚road‘, ‚tree‘", "„building”, „road”, „tree”",
        "›building‹, ›road‹, ›tree‹",
        "”building”, ”road”, ”tree”", "’building’, ’road’, ’tree’", "＂building＂,＂road＂,＂tree＂",
        "\u202abuilding\u202c, \u2066road\u2069, tr\u00adee", "building\\r\\nroad\\r\\ntree\\r\\n",
        # Marks of Markdown and of other keyboards; titles; the quotation marks of Bash in another shell.
        "**building**, **road**, **tree**", "*building*, *road*, *tree*", "1. **building**\n2. **road**\n3. **tree**",
        "‹building›, ‹road›, ‹tree›", "legend: building, road, tree", "Objects = building, road, tree",
        "vocab: building, road, tree", "$'building\nroad\ntree'",
    ],
)  # fmt: skip
def test_all_these_are_three_classes(text):
    assert Vocabulary.parse(text) == THREE
    # Reading what was read changes nothing.
    assert Vocabulary.parse(", ".join(Vocabulary.parse(text).names)) == THREE


@pytest.mark.parametrize(
    ("text", "names"),
    [
        # Only a title in front is left out.
        ("Land cover classes: water, forest, road", ["water", "forest", "road"]),
        ("my_classes = water, road", ["water", "road"]),
        ("nc: 2\nnames: [building, road]", ["building", "road"]),
        ("road, place names: a, b", ["road", "place names: a", "b"]),
        ("building, names: x, tree", ["building", "names: x", "tree"]),
        # Lists without quotation marks are read as text, strings in lists like names.
        ("[tree (low, high), road]", ["tree (low, high)", "road"]),
        ("[建筑，道路，树]", ["建筑", "道路", "树"]),
        ("[building; road]", ["building", "road"]),
        ("[\n building,\n don't know,\n]", ["building", "don't know"]),
        ("['building｜house', 'tree (low, high)']", ["building", "tree (low, high)"]),
        ("['building [big]', 'road {x}']", ["building [big]", "road {x}"]),
        # Numbers with gaps, a title in the first line, comments.
        ("1: building\n3: road", ["building", "road"]),
        ("0 background\n1 building\n255 ignore", ["background", "building", "ignore"]),
        ("7. building, 9. road", ["building", "road"]),
        ("1、建筑\n2、道路", ["建筑", "道路"]),
        ("5 storey block\n9 storey tower", ["5 storey block", "9 storey tower"]),
        ("highway 1\nroute 66", ["highway 1", "route 66"]),
        ("level -1\nlevel 0\nlevel 2", ["level -1", "level 0", "level 2"]),
        ("1. floor, 1. roof b", ["floor", "roof b"]),
        ("class id\nroad\ntree", ["class id", "road", "tree"]),
        ("zone: 1, zone: 5", ["zone: 1", "zone: 5"]),
        ("class\nbuilding\nroad", ["building", "road"]),
        ("Name\n- building\n- road", ["building", "road"]),
        ("land cover:\n- building\n- road", ["building", "road"]),
        ("building, road # and more", ["building", "road"]),
        # Groups of Python are synonyms.
        ("('building','house'),('road','street')", ["building", "road"]),
        ("[('building', 'house, low'), ('road',)]", ["building", "road"]),
        ('CLASSES = (\n ("building", "house"),\n ("road",),\n)', ["building", "road"]),
        ("('building'), ('road')", ["building", "road"]),
        ("(old) building, (new) road", ["(old) building", "(new) road"]),
        # Colons behind several lines are no titles.
        ("building:\nroad:\ntree:", ["building", "road", "tree"]),
        ("building:\n\nroad :\ntree", ["building", "road", "tree"]),
        ("yes:\nno:", ["yes", "no"]),
        ("classes:\nbuilding:\nroad:", ["building", "road"]),
        ("building:\n- house\nroad:\n- street", ["building", "road"]),
        ("Classes:\n- building\n- road\nNotes:\n- from 2020", ["building", "road"]),
        # Colours in front, and of a single class.
        ("#010203 building\n#040506 road", ["building", "road"]),
        ("# classes\n#010203: building\n# more\n#040506: road", ["building", "road"]),
        ("building 1 2 3", ["building"]),
        ("bus (stop) rgb(1, 2, 3)", ["bus (stop)"]),
        # Commas in quotation marks are part of the name.
        ("tree, 'bare soil, dry', road", ["tree", "bare soil, dry", "road"]),
        ('tree, road, "bare soil, dry"', ["tree", "road", "bare soil, dry"]),
        ('"bare soil, dry", road', ["bare soil, dry", "road"]),
        # Sentences without the last full stop.
        ("building. road. tree", ["building", "road", "tree"]),
        ("tennis court. t-junction. bare soil. sea", ["tennis court", "t-junction", "bare soil", "sea"]),
        # Colours behind the names.
        ("building 1 2 3\nroad 4 5 6", ["building", "road"]),
        ("0 building 1 2 3\n1 road 4 5 6", ["building", "road"]),
        # Invisible marks that are copied with a text.
        ("\ufeffclasses: building, road", ["building", "road"]),
        ("\u200ebuilding\u200f, ro\u200bad", ["building", "road"]),
        ("می\u200cدان, road", ["می\u200cدان", "road"]),
    ],
)  # fmt: skip
def test_names_of_a_text(text, names):
    assert Vocabulary.parse(text).names == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("road, tree...", ["road", "tree"]), ("road, tree ..", ["road", "tree"]), ("a/..", ["a/"]),
        ("tree. road...", ["tree", "road"]), ("• road • tree..", ["road", "tree"]),
        ("U.S. site, St.", ["U.S. site", "St."]),
        ("(road, tree).", ["road", "tree"]), ("(road, tree) ,", ["road", "tree"]), ("(road);", ["road"]),
    ],
)  # fmt: skip
def test_full_stops_and_brackets_at_the_end(text, names):
    vocabulary = Vocabulary.parse(text)
    assert vocabulary.names == names
    assert Vocabulary.parse(", ".join(vocabulary.names)) == vocabulary


@pytest.mark.parametrize("bar", ["|", " | ", "｜", "￨", "│"])
def test_bars_of_other_keyboards_separate_synonyms(bar):
    assert Vocabulary.parse(f"road, tree{bar}forest") == Vocabulary.parse("road, tree|forest")


@pytest.mark.parametrize(
    "name",
    [
        "bread and butter island", "St. John's wort", "low vegetation/grass", "building (roof)", "car (small, parked)",
        "T-junction", "5-storey block", "3 storey house", "route #5", "C# school", "Mt. Rainier", "No. 4 silo",
        "5th Ave.", "don't know", "road & rail", "vitamin B.12", "H2O", "建筑（住宅、商业）", "24/7 shop", "U.S. base",
        "class A road", "’t Hof", "people’s park", "»nice« house",
    ],
)  # fmt: skip
def test_names_stay_as_they_are(name):
    assert Vocabulary.parse(name).names == [name]
    assert Vocabulary.parse(f"water, {name}, sea").names == ["water", name, "sea"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("building, house; road, street", "both commas and semicolons separate names"),
        ("building . road, tree", "both commas and full stops"),
        ("building, (road", r"'\(road' has brackets or quotation marks that do not pair"),
        ('building, "road', "do not pair"),
        ("[building, road", "starts like a list but is none"),
        ('["building" "road"]', "starts like a list but is none"),
        ("0,building,1,road", "'0' is a number, not a class name"),
        ("a.txt, b.txt", "'a.txt' is the name of a file"),
        ("building, classes.csv", "'classes.csv' is the name of a file"),
        ("np.array(['a', 'b'])", "do not pair"),
        ("'building' 'road'", "do not pair"),
        ("building, parking lot # 1, road", "'#' begins a comment, which would hide names"),
        ("building // house, road", "'//' begins a comment"),
        ("building,# house, road", "'#' begins a comment"),
        ("building; road;//\thouse", "'//' begins a comment"),
        ("building, #road", "'#road' begins with the sign of a comment"),
        ('"# building", road', "'# building' begins with the sign of a comment"),
        ("building,/\t*", "has no letter"),
        ("1 2 3\n4 5 6", "'1 2 3' is a number"),
        ("building; lot // 1; road", "'//' begins a comment"),
        ("building\tlot # 1\troad", "'#' begins a comment"),
        ("1, 2, 3, 4\n5, 6, 7, 8", "'1' is a number"),
        ("building, road 1 2 3", "'road 1 2 3' has a colour"),
        ("background\n#010203 building\n#040506 road", "'#010203 building' has a colour"),
        ("building, 1, 2, 3", "'1' is a number"),
        ("-1, road", "'-1' is a number"),
        ("building, −2", "'−2' is a number"),
        ("building, road, …", "'…' has no letter"),
        ("building, ?, road", "'\\?' has no letter"),
        ("--\nroad", "'--' has no letter"),
        ("building #ff0000, road #00ff00", "'building #ff0000' has a colour"),
        ("building rgb(1,2,3), road rgb(4,5,6)", "has a colour"),
        ("building (1, 2, 3), road", r"'building \(1, 2, 3\)' has a colour"),
        ("255 0 0 building, road", "has a colour"),
        ("building=0 road=1 tree=2", "has an equals sign"),
        ("train = x.list\nvalid = y.list", "'train = x.list' has an equals sign"),
        ("dict(building=0, road=1)", "has an equals sign"),
        ("# building", "'# building' is a comment, because of the sign in front"),
        ("#1 building, #2 road", "'#1 building, #2 road' is a comment"),
        ("//building\n//road", "'//building' is a comment"),
        ("['1', '2', 'road']", "'1' is a number"),
        ("['tree (low', 'road']", "do not pair"),
        ("{'classes': ['a.txt', 'road']}", "'a.txt' is the name of a file"),
        ("{'a': {'b': 1}}", "expected a list of class names"),
    ],
)
def test_what_is_not_clear_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        Vocabulary.parse(text)


NOTHING, THRESHOLD, BACKGROUND = Rejection(), Rejection(threshold=0.5), Rejection(background=("ground",))


@pytest.mark.parametrize(
    "text", ["building road tree", "building and road", "building", "building/road/tree", "tree|wood"]
)
def test_one_class_without_rejection_is_told(text):
    (note,) = NOTHING.notes(Vocabulary.parse(text))
    assert "every pixel will be it" in note and "commas separate classes" in note


@pytest.mark.parametrize("text", ["building and road", "building / road", "building. road", "building + road"])
def test_one_class_that_looks_like_several_is_always_told(text):
    for rejection in (NOTHING, THRESHOLD, BACKGROUND):
        (note,) = rejection.notes(Vocabulary.parse(text))
        assert f"one class, '{text}'" in note and "commas separate classes" in note


@pytest.mark.parametrize("text", ["building", "low vegetation/grass", "bread-and-butter island", "T-junction"])
def test_one_class_with_rejection_needs_no_note(text):
    assert THRESHOLD.notes(Vocabulary.parse(text)) == BACKGROUND.notes(Vocabulary.parse(text)) == []
    assert NOTHING.notes(Vocabulary.parse(f"{text}, water")) == []


def test_readings_that_may_not_be_meant_are_told(tmp_path):
    def notes(text: str) -> str:
        return " ".join(NOTHING.notes(Vocabulary.parse(text)))

    assert "'road. tree' is one class" in notes("building, road. tree")
    assert "'road. tree' is one class" in notes("building; road. tree; sea")
    assert "'building. road' is one class" in notes("building. road\ntree")
    assert not notes("building, St. John's wort, 5th Ave. north, Mt. Rainier")
    assert "the first line, 'class', is left out" in notes("class\nbuilding\nroad")
    assert "every pixel" in notes("['road|tree']") and "the list" not in notes("['road|tree']")
    assert "the list has one item, so 'road' is also 'tree'" in notes("['road, tree']")
    assert "'road and tree' is one class" in notes("building, road and tree")
    assert "numbers in front of the names are left out" in notes("1 storey house\n2 storey block")
    assert "numbers behind the names are left out" in notes("building 1\nroad 0")
    assert "'city: building' is one class; remove 'city:' if it is a title" in notes("city: building, road")
    assert "numbers behind the names are left out" in notes("background 0\nbuilding 1\nroad 255")
    assert "the number in 'highway 1' is part of the name; if not, write 'highway: 1' and so on" in notes(
        "highway 1\nroute 66"
    )
    assert not notes("zone 1\nzone 5") and not notes("highway 2\nroute 66")
    assert "the first line, 'These are all.', is left out" in notes("These are all.\n* road\n* tree")
    assert "the first line, 'water', is a class, though it has no bullet" in notes("water\n* road\n* tree")
    assert "the first line, 'id name', is left out as a title" in notes("id name\n0 road\n1 tree")
    assert "labelme ignores this label" in notes("__ignore__\n_background_\nroad")
    (tmp_path / "words.txt").write_text("building, road\ntree, water\n")
    assert "commas in a line separate synonyms: 'building' is also 'road'" in notes(str(tmp_path / "words.txt"))


@pytest.mark.parametrize(
    ("table", "unread"),
    [
        ("name,color\nbuilding,red\nroad,#040506\n", "red"),
        ("name,hex\nbuilding,ff0000\nroad,\n", "ff0000"),
        ("name,r,g,b\nbuilding,1,2,3\nroad,0.5,0,1\n", "0.5 0 1"),
        ("name,rgb\nbuilding,300 0 0\nroad,1 2 3\n", "300 0 0"),
    ],
)
def test_what_is_not_read_as_a_colour_is_told(tmp_path, table, unread):
    (tmp_path / "words.csv").write_text(table)
    words = Vocabulary.from_file(tmp_path / "words.csv")
    assert words.names == ["building", "road"]
    assert words.notes == (f"'{unread}' is not read as a colour; write one such as #ff0000",)


def test_apostrophes_within_quotation_marks():
    assert Vocabulary.parse("'St. John's wort', 'O'Hare', road").names == ["St. John's wort", "O'Hare", "road"]
    assert Vocabulary.parse('"dogs\' home", road').names == ["dogs' home", "road"]
