"""docs/figures.md says what the table of figures says, and keeps what was measured."""

import figures
import figures_page
from figures import row_of

_EMPTY = "# Figures\n\n" + figures_page.MARK


def test_page_is_what_the_table_makes_of_it():
    text = figures_page.PAGE.read_text()
    assert text == figures_page.written(text), "run `python tests/bench/figures_page.py`"


def test_every_figure_has_its_row_with_goal_and_peer():
    page = figures_page.written(_EMPTY)
    assert all(page.count(f"| `{figure.name}` |") == 1 for figure in figures.TABLE)
    assert (
        "| `datagram_read` | the same, read too | instr | at most 150,000 | chip, commit 49267be: 189,000 | - |" in page
    )
    assert "| `station_draws` | station, draws at the slowest | /s | at least 5 | - | - |" in page
    assert "| MB/s | 2 x as good | aioquic | - |" in page


def test_measured_values_are_put_in_and_others_kept():
    first = figures_page.written(_EMPTY, [row_of("station_draws", 37.49), row_of("datagram_read", 190_380)])
    second = figures_page.written(first, [row_of("station_draws", 6.0), row_of("heap_smallest", None)])
    assert figures_page.measured_on(first) == {"station_draws": "37.5", "datagram_read": "190,380"}
    assert figures_page.measured_on(second) == {"station_draws": "6", "datagram_read": "190,380"}


def test_text_above_the_mark_is_nobodys_but_the_authors():
    assert figures_page.written("by hand\n" + figures_page.MARK + "old\n").startswith("by hand\n" + figures_page.MARK)
