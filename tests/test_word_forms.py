"""Class names in files of many programs, in Python and behind paths: read as meant, or one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sgovss.errors import InputError
from sgovss.inference.rejection import Rejection
from sgovss.vocabulary import ClassEntry, Vocabulary
from sgovss.words.names import unquoted

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
