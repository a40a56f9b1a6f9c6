"""What every board of a bench must do: be flashed, burned, proved and tested, one by one and at a station.

The tests of a bench build on one another, in this order; `bench` is the same virtual or real boards for all of them.
"""

import json
import threading

import pytest

from upeer_factory.board import burn
from upeer_factory.pool import audit
from upeer_factory.station.lane import LaneRun, Line


def _flash(bench, *options):
    """Flash all boards at once; return the rows of the report."""
    ports = [text for port in bench.ports for text in ("--port", port)]
    done = bench.lab.upeer("flash", *bench.lab.recipe_options, "--json", *options, *ports)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)["boards"]


def _burn(bench, options=None):
    """Burn all boards at once; return what became of each."""
    line = Line(bench.lab.factory.pool, burning=options or burn.Options())
    outcomes = {}

    def work(number, port):
        run = LaneRun(line, number, port, lambda _event, **_fields: None, threading.Event())
        outcomes[port] = run.run(("burn",))

    threads = [threading.Thread(target=work, args=row) for row in enumerate(bench.ports, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [outcomes[port] for port in bench.ports]


def test_flash_writes_and_verifies(bench):
    rows = _flash(bench)
    assert all(row["ok"] and row["verified"] and row["mac"] for row in rows)
    assert len({row["mac"] for row in rows}) == len(bench.ports)


def test_flash_again_sends_little(bench):
    for row in _flash(bench):
        assert "app" in row["parts_skipped"] and row["bytes_written"] < row["bytes_total"] // 2


def test_boards_prove_their_licences(bench):
    outcomes = _burn(bench)
    assert all(outcome.ok for outcome in outcomes), outcomes
    assert len({outcome.did for outcome in outcomes}) == len(bench.ports)


def test_licence_stays_over_flash_and_reset(bench):
    before = {outcome.mac: outcome.did for outcome in _burn(bench)}
    _flash(bench, "--full")
    after = _burn(bench)
    assert all(outcome.ok and outcome.again for outcome in after), after
    assert {outcome.mac: outcome.did for outcome in after} == before


def test_selftest_is_good_and_signed(bench):
    for outcome in _burn(bench, burn.Options(selftest={"min_aps": 1})):
        assert outcome.ok and {"flash", "ram", "clock", "rng", "wifi"} <= set(outcome.selftest), outcome
    tests = [row["selftest"] for row in audit.entries(bench.lab.factory.pool.database) if "selftest" in row]
    assert len(tests) == len(bench.ports) and all(test["tag"] and json.loads(test["result"])["ok"] for test in tests)


def test_station_passes_every_board(bench):
    text = bench.lab.config.read_text().replace('port_folder = "ports"', f"ports = {json.dumps(bench.ports)}")
    bench.lab.config.write_text(text)
    with bench.lab.station("--runs", str(len(bench.ports))) as station:
        assert station.finish(120) == 0, station.story
    assert {run["port"] for run in station.runs} == set(bench.ports)
    assert all(run["again"] for run in station.runs)
    assert audit.verify(bench.lab.factory.pool.database, bench.lab.factory.pool.key).burned == len(bench.ports)


@pytest.mark.parametrize("secret", ["licence_key", "p2p_key", "crc_key"])
def test_records_hold_no_secret(bench, secret):
    pool = bench.lab.factory.pool
    values = {pool.reserve(entry.mac).record[secret].hex() for entry in pool.entries("burned")}
    text = json.dumps(list(audit.entries(pool.database)))
    assert values and not any(value in text for value in values)
