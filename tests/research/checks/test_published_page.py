"""docs/published.md: its tables are those of the file, and what it says about them is true."""

from __future__ import annotations

from research.checks import published_page
from sgovss.evaluation.comparison import published_tables


def test_every_compared_method_is_in_its_table():
    text = published_page.shared_table(published_tables())
    methods = [method for each in published_page._COMPARED.values() for method in each]
    assert len(text.splitlines()) == 2 + len(methods)
    assert all(method in text for method in methods)


def test_what_the_page_concludes():
    tables = published_tables()
    values = {name: {row.method: row.values for row in table.rows} for name, table in tables.items()}
    for name in ("paper_dlrsd", "paper_isaid"):
        ahead = {
            heading
            for heading, value in values[name]["the paper"].items()
            if all(value >= other.get(heading, 0) for other in values[name].values())
        }
        assert set(tables[name].columns) - ahead == ({"LoveDA"} if name == "paper_dlrsd" else set())
    own, theirs = values["segearth_eight"]["SegEarth-OV"], values["paper_dlrsd"]["SegEarth-OV (not trained)"]
    assert round(max(abs(own[heading] - theirs[heading]) for heading in published_page.SHARED)) == 28
    assert round(own["LoveDA"] - theirs["LoveDA"]) == 17
    sam = values["segearth_eight"]["SegEarth-OV3"]
    assert round(sam["LoveDA"] - values["paper_dlrsd"]["the paper"]["LoveDA"]) == 21
    trained = [*values["paper_dlrsd"].values(), *values["ovrsisbench_v1_dlrsd"].values()]
    assert all(sam[heading] > row[heading] for heading in ("Vaihingen", "Potsdam", "LoveDA") for row in trained)
    means = {name: [row.mean for row in tables[f"hg_rsovsseg_{name}"].rows] for name in ("globe230k", "openearthmap")}
    assert round(means["openearthmap"][0] - means["globe230k"][0]) == 11
    assert round(means["globe230k"][0] - means["globe230k"][1]) == 2
