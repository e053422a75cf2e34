"""The table of datasets says what the files say."""


def test_the_page_is_up_to_date(load_script, checkout):
    tool = load_script("tools/dataset_table.py")
    written = (checkout / "datasets" / "README.md").read_text(encoding="utf-8")
    assert written == tool.page(), "run: python tools/dataset_table.py"
