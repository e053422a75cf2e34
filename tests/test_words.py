"""Class names as users type, paste or save them: read as meant, or one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sgovss.errors import InputError
from sgovss.inference.rejection import Rejection
from sgovss.vocabulary import ClassEntry, Vocabulary
from sgovss.words.names import unquoted

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


TWO = Vocabulary.from_string("building, road")
SYNONYMS = Vocabulary.from_string("building|house, road")
PARKS = Vocabulary([ClassEntry("people's park"), ClassEntry("dogs' home")])
COLORED = Vocabulary([ClassEntry("building", color=(1, 2, 3)), ClassEntry("road", color=(4, 5, 6))])


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("WORDS.TXT", "building\nroad\n", TWO),
        ("coco.names", "building\nroad\n", TWO),
        ("classes", "building\nroad\n", TWO),
        ("one line.txt", "building, road\n", TWO),
        ("dino.txt", "building . road .\n", TWO),
        ("bullets.md", "- building\n- road\n", TWO),
        ("titled.txt", "Classes:\nbuilding\nroad\n", TWO),
        ("names.txt", "names:\n- building\n- road\n", TWO),
        ("header.txt", "class\nbuilding\nroad\n", TWO),
        ("gaps.txt", "1: building\n3: road\n", TWO),
        ("ids and colors.txt", "0 building 1 2 3\n1 road 4 5 6\n", COLORED),
        ("numbered.txt", "0 building\n1 road\n", TWO),
        ("commented.txt", "// all\nbuilding # houses too\nroad // paved\n", TWO),
        ("list.txt", '["building", "road"]', TWO),
        ("words.py", "CLASSES = ('building', 'road')\n", TWO),
        ("text.yaml", "building, road", TWO),
        ("lines.yaml", "building\nroad\n", TWO),
        ("key.yaml", "classes: building, road\n", TWO),
        ("flow.yml", "[building; road]\n", TWO),
        ("text.json", '"building, road"', TWO),
        ("data.yaml", "nc: 2\nnames:\n  0: building\n  1: road\n", TWO),
        ("index.json", '{"0": "building", "1": "road"}', TWO),
        ("coco.json", '{"categories": [{"id": 1, "name": "building"}, {"id": 2, "name": "road"}]}', TWO),
        ("labels.pbtxt", "item {\n id: 1\n name: 'building'\n}\nitem { id: 2 name: 'road' }\n", TWO),
        ("classes.csv", "building\nroad\n", TWO),
        ("row.csv", "building,road\n", TWO),
        ("header.csv", "id,name\n7,building\n9,road\n", TWO),
        ("excel.csv", "\ufeffid;class\r\n0;building\r\n1;road\r\n", TWO),
        ("two.csv", "class,label\n0,building\n1,road\n", TWO),
        ("two more.csv", "category,class,name\nbuilding,1,7\nroad,2,8\n", TWO),
        ("excel wide.csv", "id,name\n0,building,,\n1,road,,\n", TWO),
        ("bars.csv", "id,name\n0,building|house\n1,road\n", SYNONYMS),
        ("ade.csv", "id,name\n0,building;house\n1,road\n", SYNONYMS),
        ("more.csv", "name,synonyms\nbuilding,house\nroad,\n", SYNONYMS),
        (
            "oid.pbtxt",
            "item { name: '/m/01' display_name: 'building' }\nitem { display_name: 'road' }",
            TWO,
        ),
        ("colon.pbtxt", 'item: {\n id: 1 name: "building"\n}\nitem: {\n name: "road"\n}', TWO),
        ("park.pbtxt", "item { name: \"people's park\" }\nitem { name: 'dogs\\' home' }", PARKS),
        ("plain.csv", "0,building\n1,road\n", TWO),
        ("table.TSV", "name\tsynonyms\nbuilding\t\nroad\t\n", TWO),
        ("comment.csv", "# made by me, 2020\n\n// all\nid,name\n0,building\n# more\n1,road\n", TWO),
        ("comment", "# made by me, 2020\nid,name\n0,building # houses\n1,road // paved\n", TWO),
        ("comments.csv", "id,name # all\n0,building # houses\n1,road // paved\n", TWO),
        ("unspaced.csv", "#made by me\nid;name\n0;building\n# it's; more\n1;road\n#end\n", TWO),
        ("id.csv", "#id,name\n0,building\n1,road\n", TWO),
        ("numbered.csv", "#1,building\n#2,road\n", TWO),
        ("signed.csv", "# id,name,place\n0,building,a\n1,road,b\n", TWO),
        ("numbers.csv", "id,name\n#1,building\n#2,road\n", TWO),
        ("negative.csv", "-1,building\n0,road\n", TWO),
        ("sep.csv", "\ufeffsep=;\r\nid;name\r\n0;building\r\n1;road\r\n", TWO),
        ("sep tab.csv", "sep=\t\n\nname\ta,b;c\nbuilding\t1\nroad\t2\n", TWO),
        ("empty rows.csv", "id,name\n,\n0,building\n\n1,road\n,\n", TWO),
        ("class_dict.csv", "name, r, g, b\nbuilding, 1, 2, 3\nroad, 4, 5, 6\n", COLORED),
        ("labelmap.txt", "# label:color_rgb:parts:actions\nbuilding:1,2,3::\nroad:4,5,6::\n", COLORED),
        ("hex in front.txt", "#010203 building\n#040506 road\n", COLORED),
        ("hex below.txt", "# classes\n#010203: building\n\n# more\n#040506: road\n", COLORED),
        ("groups.txt", "('building', 'house'),\n('road',)\n", SYNONYMS),
        ("groups.py", "# all\nCLASSES = [\n    ('building', 'house'),\n    ('road',),\n]\n", SYNONYMS),
        ("more groups", "[('building', 'house'), ('road',)]", SYNONYMS),
        ("outline.txt", "building:\n- house\nroad:\n", SYNONYMS),
        ("outline", "# all\nbuilding:\n  - house\n\nroad:\n", SYNONYMS),
        ("outline.yaml", "building: [house]\nroad:\n", SYNONYMS),
        ("colons.txt", "building:\nroad:\n", TWO),
        ("colored.txt", "building 1 2 3\nroad 4 5 6\n", COLORED),
        ("colors.json", '{"building": [1, 2, 3], "road": [4, 5, 6]}', COLORED),
        # Lists of other programs.
        ("labels.txt", "__ignore__\nbuilding\nroad\n", TWO),  # labelme
        ("config.json", '{"id2label": {"0": "building", "1": "road"}, "label2id": {"building": 0}}', TWO),
        ("titles.json", '{"classes": [{"id": 1, "title": "building"}, {"id": 2, "title": "road"}]}', TWO),
        ("items.yaml", "classes:\n- {id: 0, label: building}\n- {id: 1, label: road}\n", TWO),
        ("class names.yaml", "class_names:\n- building\n- road\n", TWO),
        ("table.md", "| id | name |\n|----|:----:|\n| 0 | building |\n| 1 | road |\n", TWO),
        ("order.txt", "building 1\nroad 0\n", TWO),
        ("cvat.json", '[{"name": "building", "color": "#010203"}, {"name": "road", "color": "#040506"}]', COLORED),
        ("colors.yaml", "building: {color: [1, 2, 3]}\nroad: {color: '#040506'}\n", COLORED),
        ("hex.csv", "name,color\nbuilding,#010203\nroad,#040506\n", COLORED),
        ("rgb.csv", "name,rgb\nbuilding,1 2 3\nroad,4 5 6\n", COLORED),
        ("tuples.csv", 'label,color\nbuilding,"(1, 2, 3)"\nroad,"(4, 5, 6)"\n', COLORED),
        ("hex.txt", "building #010203\nroad #040506\n", COLORED),
        ("brackets.txt", "building (1, 2, 3)\nroad (4,5,6)\n", COLORED),
        ("square.txt", "building: [1, 2, 3]\nroad: [4, 5, 6]\n", COLORED),
        ("css.txt", "building rgb(1, 2, 3)\nroad rgb(4, 5, 6)\n", COLORED),
        ("hex.json", '{"building": "#010203", "road": "#040506"}', COLORED),
        ("synonym.yaml", "- {name: building, synonym: [house]}\n- {name: road, aliases: []}\n", SYNONYMS),
        ("alias.json", '{"building": {"alias": "house"}, "road": {"aliases": null}}', SYNONYMS),
        ("aliases.csv", "name,aliases\nbuilding,house\nroad,\n", SYNONYMS),
        ("colour.json", '[{"name": "building", "colour": [1, 2, 3]}, {"name": "road", "rgb": "4 5 6"}]', COLORED),
        ("colour.yaml", "building: {colour: [1, 2, 3]}\nroad: {hex: '#040506'}\n", COLORED),
        ("hint.json", '[{"name": "building", "color_hint": "010203"}, {"name": "road", "rgb": [4, 5, 6]}]', COLORED),
        ("hint.csv", "name,color_hint\nbuilding,010203\nroad,040506\n", COLORED),
        ("css.yaml", "building: rgb(1, 2, 3)\nroad: '#040506'\n", COLORED),
        ("ids behind.txt", "building, 0\nroad, 1\n", TWO),
        ("ids behind, too.txt", "building; 1\nroad; 2\n", TWO),
        ("ids behind, again.txt", "building,1\nroad,0\n", TWO),
        ("rgba.txt", "building 1 2 3 255\nroad 4 5 6 255\n", COLORED),
        ("equals.txt", "building=1,2,3\nroad=4,5,6\n", COLORED),
        ("in front.txt", "1 2 3 building\n4 5 6 road\n", COLORED),
        ("values.txt", "1 1 2 3 building\n2 4 5 6 road\n", COLORED),
        ("qgis.clr", "1 1 2 3 255 building\n2 4 5 6 255 road\n", COLORED),
        ("qgis.txt", "# Color Map\nINTERPOLATION:EXACT\n1,1,2,3,255,building\n2,4,5,6,255,road\n", COLORED),
        (
            "style.qml",
            '<!DOCTYPE qgis><qgis><c><paletteEntry value="1" color="#010203" label="building"/><paletteEntry value="2" '
            'color="#040506" label="road"/></c></qgis>',
            COLORED,
        ),
        (
            "map.hdr",
            "ENVI\nsamples = 3\nclass names = {\n building, road}\nclass lookup = {1, 2, 3, 4, 5, 6}\n",
            COLORED,
        ),
        ("plain.hdr", "ENVI\nclasses = 2\nclass names = { building, road }\n", TWO),
    ],
)
def test_files_are_read_by_their_content(tmp_path, monkeypatch, name, content, expected):
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(content, encoding="utf-8")
    assert Vocabulary.parse(name) == Vocabulary.of(Path(name)) == expected
    assert Vocabulary.parse(f"'{name}'") == Vocabulary.parse(f'" {name}"') == expected


@pytest.mark.parametrize("encoding", ["utf-32", "utf-16", "utf-8-sig", "utf-8"])
@pytest.mark.parametrize(
    "content", ["building\r\nroad\r\n", "id\tname\n0\tbuilding\n1\troad\n", '["building", "road"]']
)
def test_byte_order_marks_tell_the_encoding(tmp_path, encoding, content):
    (tmp_path / "words").write_bytes(content.encode(encoding))
    assert Vocabulary.parse(str(tmp_path / "words")) == TWO


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("map.hdr", b"ENVI\nsamples = 3\n", "a header of ENVI without 'class names'"),
        ("bools.yaml", b"- yes\n- no\n", "not True; put words such as yes, no and null into quotation marks"),
        ("color.json", b'[{"name": "road", "color": "red"}]', "three numbers from 0 to 255 or '#rrggbb', not 'red'"),
        ("classes.csv", b"building,house\nroad,street\n", "cannot tell the column of class names; call it 'name'"),
        ("short.csv", b"id,name\n1,building\n2\n", "line 3 has 1 of 2 columns"),
        ("words.rtf", b"{\\rtf1 building\\par road}", r"formatted text \(RTF\); save it as plain text"),
        ("rich text", b"{\\rtf1 building\\par road}", "save it as plain text"),
        ("wide.txt", "building\nroad\n".encode("utf-16-le"), "is not UTF-8 text; save it as UTF-8 text"),
        ("wide.csv", "id,name\n0,road\n".encode("utf-16-be"), "is not UTF-8 text; save it as UTF-8 text"),
        ("wider.txt", "building\nroad\n".encode("utf-32-be"), "is not UTF-8 text; save it as UTF-8 text"),
        (
            "one empty.qml",
            b'<a><b value="7" color="#010203" label=" "/></a>',
            "entry 1, of value '7', has an empty label",
        ),
        (
            "empty.sld",
            b'<a><b quantity="7" color="#010203" label="a"/><b quantity="8" color="#010204" label=""/></a>',
            "entry 2, of value '8', has an empty label; write a class name there",
        ),
        (
            "empty.csv",
            b"# a\n\nid,name\n0,\n1,road\n",
            "line 4 has an empty class name; write one into the column 'name'",
        ),
        ("empty bar.csv", b"id;class\n0;road\n1;a|\n", "line 3 has an empty class name; .* the column 'class'"),
        ("numbers.csv", b"class,label\n1,2\n3,4\n", "cannot tell the column"),
        ("header.csv", b"id,name\n", "has a header and no classes"),
        ("wide.csv", b"id,name\n0,tree, forest\n", "line 2 has 3 cells for 2 columns; put cells with commas in quotes"),
        ("path.csv", b"id,name\n0,a.txt\n1,road\n", "line 2: 'a.txt' is the name of a file"),
        ("unnamed.pbtxt", b"item { id: 1 }\nitem { id: 2 name: 'road' }", "an item has no name"),
        ("words.txt", b"building;house\nroad;street\n", "'building;house' has semicolons; write one class per line"),
        ("style.qml", b"<qgis/>", "XML or HTML, not a list of class names"),
        ("words.xlsx", b"PK\x03\x04\xff\xfe", "is not UTF-8 text; save it as UTF-8 text"),
        ("words.docx", b"PK\x03\x04\xff\xfe", "is not UTF-8 text"),
        ("photo.png", b"\x89PNG\r\n", "is not UTF-8 text"),
        ("images.json", b'{"images": [], "licence": 5}', "expected a list of class names"),
    ],
)
def test_files_of_another_kind_are_told(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: .*{message}"):
        Vocabulary.parse(str(tmp_path / name))


@pytest.mark.parametrize(
    "name",
    [
        "none.csv",
        "NONE.TXT",
        "coco.names",
        "./none",
        "/no/such/words",
        "~/none.yml",
        "a b.json",
        "words.doc",
        "map.hdr",
        "colors.clr",
        "'none.txt'",
    ],
)
def test_a_file_that_is_missing_is_told(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"cannot read this vocabulary file \(No such file or directory\)"):
        Vocabulary.parse(name)


def test_folders_and_addresses_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("building").mkdir()
    for name in ("building/", "./building", str(tmp_path / "building")):
        with pytest.raises(InputError, match="is a folder; name a file"):
            Vocabulary.parse(name)
    with pytest.raises(InputError, match="an address, not a file; save the file"):
        Vocabulary.parse("https://host/words.txt")
    for name in ("file:///tmp/words.txt", "s3://bucket/words.txt"):
        with pytest.raises(InputError, match=f"{name}: an address, not a file"):
            Vocabulary.parse(name)
    # A word may be the name of a folder too.
    assert Vocabulary.parse("building").names == ["building"]
    assert "a folder has this name" in Vocabulary.parse("building").notes[0]


def test_lists_in_python():
    assert Vocabulary.of(["building", "road"]) == Vocabulary.of(("building", "road")) == TWO
    assert Vocabulary.of([ClassEntry("building", color=(1, 2, 3)), {"name": "road", "color": [4, 5, 6]}]) == COLORED
    assert Vocabulary.of(["salt, in heaps", "tree|wood"]).classes[0].names == ("salt, in heaps",)
    assert Vocabulary.of(TWO) is TWO


@pytest.mark.parametrize("words", [None, 5, {"building": 1}, {"building"}, iter(["road"]), b"road", [5], [["road"]]])
def test_other_objects_are_refused(words):
    with pytest.raises(InputError, match=r"expected class names such as|a class is a name"):
        Vocabulary.of(words)


@pytest.mark.parametrize("classes", ["building, road", ["building", "road"], [ClassEntry("tree", "forest")], [None]])
def test_the_constructor_takes_entries_only(classes):
    with pytest.raises(InputError, match=r"expected ClassEntry\(name, .*Vocabulary\.of takes names"):
        Vocabulary(classes)


@pytest.mark.parametrize("mark", ["\u202a", "\ufeff", "\u200e", "\u202a'", "' \u2066"])
def test_paths_behind_invisible_marks(tmp_path, mark):
    file = tmp_path / "words"
    file.write_text("building\nroad\n")
    end = "'" if "'" in mark else ""
    assert Vocabulary.parse(f"{mark}{file}{end}") == TWO
    with pytest.raises(InputError, match=rf"^{tmp_path}/none\.txt: cannot read"):
        Vocabulary.parse(f"{mark}{tmp_path}/none.txt{end}")


def test_a_file_may_have_an_invisible_mark_in_its_name(tmp_path):
    file = tmp_path / "wo\u00adrds"
    file.write_text("building\nroad\n")
    assert Vocabulary.parse(str(file)) == TWO


@pytest.mark.parametrize("name", ["words.txt", "'words.txt'", "./words", "/no/such/words.csv"])
def test_a_background_is_words(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("words.txt").write_text("ground\n")
    Path("ground").write_text("words\n")
    with pytest.raises(
        InputError, match=f"^--background: '{unquoted(name)}' is the name of a file, and --background takes words"
    ):
        Rejection.parse(0.0, name)
    assert Rejection.parse(0.0, "ground|soil").background == ("ground", "soil")
    assert Rejection.parse(0.0, "ground").background == ("ground",)


def test_apostrophes_within_quotation_marks():
    assert Vocabulary.parse("'St. John's wort', 'O'Hare', road").names == ["St. John's wort", "O'Hare", "road"]
    assert Vocabulary.parse('"dogs\' home", road').names == ["dogs' home", "road"]
