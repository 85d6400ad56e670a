"""docs/performance.md says what bench/growth.json has, and that is what it says of growth."""

import json

import pytest

from bench.growth import Cost, rows_of
from bench.plots import LIMIT, PAGE, RESULTS, filled_in, tables_of

FLAT = ("length", "owner")


def test_the_tables_of_the_page_are_those_of_the_results():
    page = PAGE.read_text()
    assert filled_in(page, json.loads(RESULTS.read_text())) == page, "run `make growth-page`"


def test_the_plots_of_the_page_are_there():
    for name in json.loads(RESULTS.read_text()):
        assert f"(images/growth-{name}.svg)" in PAGE.read_text()
        assert "<svg" in (PAGE.parent / "images" / f"growth-{name}.svg").read_text()


@pytest.mark.parametrize("name", FLAT)
def test_appends_pages_and_lists_cost_as_much_among_many(name):
    result = json.loads(RESULTS.read_text())[name]
    assert (result["sizes"][0], result["sizes"][-1]) == (10, 100_000)
    grown = {
        row["operation"]: row["cpu_ratio"] for row in result["rows"] if row["cpu_ratio"] > LIMIT
    }
    assert grown == {}


def test_a_ratio_is_the_median_of_those_of_the_rounds():
    costs = {
        10: [Cost(1.0, 2.0), Cost(4.0, 2.0), Cost(1.0, 2.0)],
        1_000: [Cost(2.0, 2.0), Cost(4.0, 6.0), Cost(3.0, 8.0)],
    }
    small, large = rows_of("append", costs)
    assert small == {
        "operation": "append",
        "size": 10,
        "cpu_ms": 1.0,
        "cpu_ratio": 1.0,
        "wall_ms": 2.0,
        "wall_ratio": 1.0,
    }
    assert large == {
        "operation": "append",
        "size": 1_000,
        "cpu_ms": 3.0,
        "cpu_ratio": 2.0,
        "wall_ms": 6.0,
        "wall_ratio": 3.0,
    }


def test_a_table_has_a_row_of_each_operation_with_the_ratio_of_its_largest_size():
    rows = rows_of("list", {10: [Cost(1, 1)], 100: [Cost(2, 3)]})
    rows += rows_of("list of 50", {100: [Cost(5, 5)]})
    [table] = tables_of("owner", {"rows": rows, "sizes": [10, 100]})
    assert table.splitlines()[2:] == [
        "| list | 1.00 | 2.00 | 2.00x | 3.00x |",
        "| list of 50 |  | 5.00 | 1.00x | 1.00x |",
    ]


def test_a_page_without_a_place_for_results_is_refused():
    made = {"load": [0, 0], "seconds": 1, "command": "", "on": "", "cores": 1}
    with pytest.raises(SystemExit, match="'owner'"):
        filled_in("A page.", {"owner": {"rows": [], "sizes": [], "made": made}})
