"""Lists and tables of class names in files: what is a table, what are synonyms, and what is told."""

from __future__ import annotations

import pytest

from sgovss.errors import InputError
from sgovss.vocabulary import Vocabulary


@pytest.fixture
def read(tmp_path):
    """A function that reads a file of class names: (its classes with their synonyms, the notes)."""

    def parsed(content: str, name: str = "words.txt") -> tuple[list[tuple[str, ...]], list[str]]:
        (tmp_path / name).write_text(content)
        words = Vocabulary.from_file(tmp_path / name)
        return [(entry.name, *entry.synonyms) for entry in words.classes], [*words.notes]

    return parsed


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("name,id\nbuilding,1\nroad,2\n", [("building",), ("road",)]),
        ("ID;Class;Color\n1;building;#010203\n2;road;#040506\n", [("building",), ("road",)]),
        ("name,synonyms\nbuilding,house; hut\nroad,\n", [("building", "house", "hut"), ("road",)]),
        # One column is a list with a title.
        ("name\nbuilding, house\nroad\n", [("building", "house"), ("road",)]),
        # Titles of columns are also names, and other columns may be names.
        ("red, green\nyellow\n", [("red", "green"), ("yellow",)]),
        ("class, lesson\nroom\n", [("class", "lesson"), ("room",)]),
    ],
)
def test_a_header_of_several_columns_makes_a_text_a_table(read, content, expected):
    assert read(content)[0] == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("1,building\n2,road\n", [("building",), ("road",)]),
        ('1,"building, house"\n2,road\n', [("building", "house"), ("road",)]),
        ("building\n", [("building",)]),
        ("building,road\n", [("building",), ("road",)]),
        ("code,name\n1,building\n2,road\n", [("building",), ("road",)]),
        # A line end in quotation marks is a space of the name.
        ('id,name\n1,"tree\nhouse"\n2,road\n', [("tree house",), ("road",)]),
        ('1,"tree\r\nhouse"\r\n2,road\r\n', [("tree house",), ("road",)]),
        # A mark without a partner ends with its line.
        ('id,name\n1,"building\n2,road\n', [("building",), ("road",)]),
        ('id,name\n1,"building\n2,road\n3,"tree\n', [("building",), ("road",), ("tree",)]),
    ],
)
def test_a_file_is_a_table_by_its_suffix_if_it_has_several_lines(read, content, expected):
    assert read(content, "words.csv")[0] == expected


def test_only_the_first_text_that_is_no_colour_is_told(read):
    classes, notes = read("name,color\nbuilding,red\nroad,#040506\ntree,green\n", "words.csv")
    assert classes == [("building",), ("road",), ("tree",)]
    assert notes == ["'red' is not read as a colour; write one such as #ff0000"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,id\n", "the table has a header and no classes"),
        ("name,id\nbuilding,1\nroad\n", "line 3 has 1 of 2 columns"),
        ('# all\n\nname,id\n"tree\nhouse",1\n\nbuilding\n', "line 7 has 1 of 2 columns"),
        ("name,id\nbuilding,1,x\n", "line 2 has 3 cells for 2 columns"),
    ],
)
def test_a_table_that_is_not_whole_is_told(read, content, message):
    with pytest.raises(InputError, match=message):
        read(content)
    assert read("name,id\nbuilding,1,\n")[0] == [("building",)]  # an empty cell is no more than a comma


def test_commas_are_told_for_the_first_line_that_has_no_bar(read):
    classes, notes = read("building|house, hut\nroad\nsea , lake, pond\ntree, bush\n")
    assert classes == [("building", "house", "hut"), ("road",), ("sea", "lake", "pond"), ("tree", "bush")]
    assert notes == ["commas in a line separate synonyms: 'sea' is also 'lake'"]
    for content in ("building|house, hut\nroad\n", "building\nroad\n"):
        assert read(content)[1] == []


@pytest.mark.parametrize(
    "content",
    [
        'classes: ["road [paved]", "tree {any}"]',
        'classes:\n- name: "road [paved]"\n- name: "tree {any}"\n',
        'classes:\n- "road [paved]"\n- name: "tree {any}"\n',
    ],
)
def test_names_in_a_list_of_a_file_may_have_brackets(read, content):
    assert read(content, "words.yaml")[0] == [("road [paved]",), ("tree {any}",)]
    with pytest.raises(InputError, match="brackets or quotation marks that do not pair"):
        read(content.replace("any}", "any"), "words.yaml")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("building 1 2 3\n", (1, 2, 3)),
        ("building #010203\n", (1, 2, 3)),
        ("#010203 building\n", (1, 2, 3)),
        ("# label:color_rgb:parts:actions\nbuilding:1,2,3::\n", (1, 2, 3)),
        ("building:1,2,3:roof,wall:open\n", (1, 2, 3)),
    ],
)
def test_a_file_of_one_class_may_give_its_colour(tmp_path, content, expected):
    (tmp_path / "words.txt").write_text(content)
    (entry,) = Vocabulary.from_file(tmp_path / "words.txt")
    assert (entry.name, entry.color) == ("building", expected)


@pytest.mark.parametrize("key", ["synonyms", "synonym", "aliases", "words"])
@pytest.mark.parametrize("text", ["hut (low, old), barn", "hut (low, old) | barn", "hut (low, old);barn,"])
def test_synonyms_in_one_text(read, key, text):
    read(f"- name: house\n  {key}: {text!r}\n- {{name: road}}\n", "words.yaml")
    (house, road) = Vocabulary.of([{"name": "house", key: text}, "road"])
    assert (house.words if key == "words" else house.synonyms) == ("hut (low, old)", "barn")
    assert road.synonyms == ()


@pytest.mark.parametrize(
    ("content", "unread"),
    [
        ("[{name: a, Colors: [1, 2, 3]}, {name: b, shade: x, size: 1}]", "Colors, shade, size"),
        ("a: {color: [1, 2, 3], prompt: x}\nb: {color: [1, 2, 4]}\n", "prompt"),
        ("[{id: 1, name: a, supercategory: x, synonyms: c}, {index: 1, name: b, words: d, offset: 1}]", None),
    ],
)
def test_keys_that_are_not_read_are_told(read, content, unread):
    classes, notes = read(content, "words.yaml")
    assert [names[0] for names in classes] == ["a", "b"]
    told = f"not read in the list of classes: {unread}; a class may have a name, synonyms and a color"
    assert notes == ([] if unread is None else [told])


def test_keys_that_are_not_read_are_told_in_python_too():
    words = Vocabulary.of([{"name": "a", "colour": (1, 2, 3), "prompt": "x"}, "b"])
    assert words[0].color == (1, 2, 3)
    assert [note.split(";")[0] for note in words.notes] == ["not read in the list of classes: prompt"]


def test_groups_are_told_to_be_synonyms(read):
    classes, notes = read("[('road',), ('tree', 'wood', 'bush'), ('house', 'hut')]")
    assert classes == [("road",), ("tree", "wood", "bush"), ("house", "hut")]
    assert notes == ["names in a pair of brackets are synonyms: 'tree' is also 'wood'"]
    assert read("('road'), ('tree')") == ([("road",), ("tree",)], [])
    with pytest.raises(InputError, match="'5' is a number"):
        read("('road', '5'), ('tree',)")


def test_lists_below_names_are_told_to_be_synonyms(read):
    classes, notes = read("nature:\n- tree\n- grass\nroad:\n- street\n")
    assert classes == [("nature", "tree", "grass"), ("road", "street")]
    assert notes == ["the lines below 'nature:' are its synonyms"]
    assert read("nature:\nroad:\n") == ([("nature",), ("road",)], [])


@pytest.mark.parametrize("sign", [";", "\t"])
def test_lines_of_a_file_have_one_kind_of_separator(read, sign):
    with pytest.raises(InputError, match=r"has (semicolons|tabs); write one class per line"):
        read(f"building{sign}house\nroad\n")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("- road\n* roof\n1. water\n", [("road",), ("roof",), ("water",)]),
        ("1) road\n- roof\n2. 3. water\n", [("road",), ("roof",), ("3. water",)]),
        ("classes:\n- road\n+ roof\n\n12. water\n", [("road",), ("roof",), ("water",)]),
    ],
)
def test_bullets_of_several_kinds_and_numbers_are_left_out(read, content, expected):
    assert read(content)[0] == expected
    assert [(entry.name,) for entry in Vocabulary.from_string(content).classes] == expected


@pytest.mark.parametrize("content", ["- road\n* roof\nwater\n", "road\n- roof\nwater\n", "1. road\nwater\n- roof\n"])
def test_a_bullet_is_not_part_of_a_name(read, content):
    with pytest.raises(InputError, match=r"'[-*] ro[a-z]+' begins with a bullet, not a class name"):
        read(content)


@pytest.mark.parametrize("content", ['[["road","street"],["roof"]]', '{"classes": [["road", "street"], "roof"]}'])
def test_lists_in_a_list_hold_the_names_of_one_class(read, content):
    expected = [("road", "street"), ("roof",)], ["names in an inner list are synonyms: 'road' is also 'street'"]
    assert read(content, "words.json") == expected
    assert read(content, "words.yaml") == expected
    assert read('[["road"], ["roof"]]', "words.json") == ([("road",), ("roof",)], [])


@pytest.mark.parametrize(
    "content", ['[["road", "roof"]]', '[[], ["roof"]]', '[["road", 3], ["roof"]]', '[[["road"]], ["a"]]']
)
def test_other_lists_in_a_list_are_refused(read, content):
    with pytest.raises(InputError, match=r"a class is a name or \{name, synonyms, color\}, not \["):
        read(content, "words.json")


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ("id,name,description\n1,road,paved\n2,roof,\n", "'description'"),
        ("name;synonyms;Notes;words\nroad;street;;a road\nroof;;y;\n", "'Notes', 'words'"),
        ("category,name\nground,road\nbuilt,roof\n", "'category'"),
    ],
)
def test_columns_that_are_not_read_are_told(read, content, columns):
    assert read(content, "words.csv")[1] == [
        f"columns of the table that are not read: {columns}; name, synonyms and color are read"
    ]


@pytest.mark.parametrize(
    "content", ["id,name,area,r,g,b\n1,road,3.5,1,2,3\n2,roof,,4,5,6\n", "class,name,type\n1,road,x\n2,roof,y\n"]
)
def test_columns_of_numbers_and_others_that_say_nothing_of_words_are_not_told(read, content):
    assert [name for name, *_ in read(content, "words.csv")[0]] == ["road", "roof"]
    assert read(content, "words.csv")[1] == []


@pytest.mark.parametrize("row", ["2,", "2", '2," "'])
def test_an_empty_name_in_a_table_without_a_header_is_told(read, row):
    """Left out in silence, the classes behind it would get other numbers."""
    with pytest.raises(InputError, match=r"words\.csv: line 2 has no class name in column 2; write one there"):
        read(f"1,road\n{row}\n3,roof\n", "words.csv")
    assert read("1,road\n,\n\n3,roof\n", "words.csv")[0] == [("road",), ("roof",)]


def test_numbers_of_routes_are_no_column(read):
    assert read("Plate Number\nRoute 66\nExit 3\n")[0] == [("Plate Number",), ("Route 66",), ("Exit 3",)]


def test_a_number_and_a_space_are_part_of_a_name_in_a_list_of_a_file(read):
    names, notes = read("[1 storey, 2 storeys]", "words.yaml")
    assert names == [("1 storey",), ("2 storeys",)] and not notes
