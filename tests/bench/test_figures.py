"""The harness of the figures: ratios point the right way, one row makes table and JSON, names pick what is run."""

import json
import re

import figures
import pytest
import run_all
from figures import row_of


def test_ratio_above_one_is_better_either_way() -> None:
    faster, slower = row_of("stream_1200", 52.0, 26.0), row_of("connect_loopback", 40.0, 20.0)
    assert (faster["ratio"], faster["goal"], faster["met"]) == (2.0, 52.0, True)
    assert (slower["ratio"], slower["goal"], slower["met"]) == (0.5, 5.0, False)


def test_goal_without_a_peer_is_met_or_not_either_way() -> None:
    assert [row_of("datagram_ack", value)["met"] for value in (149_999, 150_000, 150_001)] == [True, True, False]
    assert [row_of("station_draws", value)["met"] for value in (4.9, 5.0)] == [False, True]
    assert row_of("heap_smallest", None)["met"] is False
    assert row_of("pool_status_sqlite", 1.0)["met"] is None


def test_peer_of_the_table_is_used_where_none_was_measured() -> None:
    row = row_of("datagram_read", 94_500)
    assert (row["peer"], row["peer_value"], row["ratio"]) == (figures.CHIP, 189_000, 2.0)


def test_names_are_told_once_and_have_a_benchmark(project_root) -> None:
    names = [figure.name for figure in figures.TABLE]
    assert len(names) == len(set(names))
    assert not set(names) & {figure.bench for figure in figures.TABLE}
    assert all(re.fullmatch("[a-z0-9_]+", name) for name in names)
    scripts = {path.stem.removeprefix("bench_") for path in (project_root / "tests/bench").glob("bench_*.py")}
    assert {figure.bench for figure in figures.TABLE} == scripts


def test_report_prints_and_hands_over_the_same_row(tmp_path, monkeypatch, capsys) -> None:
    rows = tmp_path / "rows"
    for name, value in figures.environment(["stream_1200"], rows).items():
        monkeypatch.setenv(name, value)
    figures.report("stream_1200", 52.0, 26.0)
    figures.report("stream_16k", 52.0, 26.0)  # nobody asked for it
    assert [json.loads(line) for line in rows.read_text().splitlines()] == [row_of("stream_1200", 52.0, 26.0)]
    cells = re.split("  +", capsys.readouterr().out.strip())
    assert cells[1:] == ["52", "MB/s", "aioquic 26", "2.00x", ">= 52", "met"]


def test_choose_takes_benchmarks_and_figures() -> None:
    assert run_all.choose(["stream", "datagram_ack"]) == {
        "datagram": ["datagram_ack"],
        "stream": ["stream_1200", "stream_16k"],
    }
    assert sum(map(len, run_all.choose([]).values())) == len(figures.TABLE)


def test_unknown_name_is_one_line_and_runs_nothing(tmp_path, capsys) -> None:
    assert run_all.main(["stream", "sream"], tmp_path) == 2
    error = capsys.readouterr().err
    assert error.startswith("bench: unknown: sream. There are ") and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("code", "told", "expected"), [(0, 1, 0), (1, 1, 1), (0, 0, 1)])
def test_main_writes_what_was_told_and_fails_with_a_benchmark(tmp_path, monkeypatch, code, told, expected) -> None:
    (tmp_path / "bench_station.py").write_text(
        f"import figures, sys\nfor _ in range({told}): figures.report('station_draws', 6.0)\nsys.exit({code})\n"
    )
    monkeypatch.setattr(run_all, "_FOLDER", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(figures.__file__.rpartition("/")[0]))
    assert run_all.main(["station_draws"], tmp_path / "build") == expected
    rows = json.loads((tmp_path / "build" / "bench.json").read_text())
    assert rows == [row_of("station_draws", 6.0)] * told
    if rows:
        assert list(rows[0]) == ["name", "value", "unit", "peer", "peer_value", "ratio", "goal", "met"]
