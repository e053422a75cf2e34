"""The page on bad input says what the tests say."""


def test_the_page_is_up_to_date(load_script, checkout):
    tool = load_script("tools/robustness_table.py")
    written = (checkout / "docs" / "robustness.md").read_text(encoding="utf-8")
    assert written == tool.page(), "run: python tools/robustness_table.py"
