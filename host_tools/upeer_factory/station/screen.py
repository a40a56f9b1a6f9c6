"""How a station looks: `render(station, keys)` draws lanes, counters and keys as rich renderables; nothing is kept."""

from rich import box
from rich.align import Align
from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from upeer_factory.efuses.securing import LEFT_ALONE
from upeer_factory.station import lane_state
from upeer_factory.station.keys import ENGINEER, Keys
from upeer_factory.station.lane_state import LaneState
from upeer_factory.station.station import Station

_PORT_LETTERS = 26
_COLOURS = {lane_state.PASS: "bold white on green", lane_state.FAIL: "bold white on red", lane_state.EMPTY: "dim"}
_BIG = {
    lane_state.PASS: ("█▀█ █▀█ █▀▀ █▀▀", "█▀▀ █▀█ ▀▀█ ▀▀█", "▀   ▀ ▀ ▀▀▀ ▀▀▀"),
    lane_state.FAIL: ("█▀▀ █▀█ ▀█▀ █  ", "█▀▀ █▀█  █  █  ", "▀   ▀ ▀ ▀▀▀ ▀▀▀"),
}


def render(station: Station, keys: Keys, width: int = 100) -> RenderableType:
    """Return the whole screen."""
    layout = Layout()
    parts = [Layout(_head(station, keys), size=3), Layout(_lanes(station, keys, width), name="lanes")]
    if keys.shows_log:
        parts.append(Layout(Panel("\n".join(list(station.log)[-8:]), title="log", box=box.SQUARE), size=10))
    layout.split_column(*parts, Layout(_foot(station, keys), size=4))
    return layout


def _head(station: Station, keys: Keys) -> RenderableType:
    row = Table.grid(expand=True)
    row.add_column(ratio=1)
    row.add_column(justify="center", ratio=1)
    row.add_column(justify="right", ratio=1)
    mode = Text(f"{keys.mode} mode", "bold yellow" if keys.mode == ENGINEER else "")
    row.add_row(Text(station.settings.name, "bold"), mode, _stock(station))
    state = Text("running", "green") if station.is_on else Text("stopped: press s to start", "bold yellow")
    if station.line.efuses == LEFT_ALONE:
        state.append("   eFuses are left alone", "bold yellow")
    return Panel(row, title=state, box=box.SQUARE, padding=(0, 1))


def _stock(station: Station) -> Text:
    if station.stock is None:
        return Text("pool: asking", "dim")
    free = station.stock.free
    if free == 0:
        return Text("NO LICENCES LEFT", "bold white on red")
    return Text(f"LOW STOCK: {free} licences" if station.is_low else f"{free} licences free", _warn(station))


def _warn(station: Station) -> str:
    return "bold black on yellow" if station.is_low else ""


def _lanes(station: Station, keys: Keys, width: int) -> RenderableType:
    if not station.lanes:
        return Align.center(Text("Plug a board in.", "bold"), vertical="middle")
    columns = max(1, min(len(station.lanes), width // (_PORT_LETTERS + 6)))
    grid = Table.grid(expand=True)
    for _ in range(columns):
        grid.add_column(ratio=1)
    cells = [_lane(lane, lane.number == keys.selected) for lane in station.lanes]
    for start in range(0, len(cells), columns):
        row = cells[start : start + columns]
        grid.add_row(*row, *[""] * (columns - len(row)))
    return grid


def _lane(lane: LaneState, is_selected: bool) -> RenderableType:
    port = lane.port.removeprefix("/dev/serial/by-path/").removeprefix("/dev/")
    title = f"{lane.number} …{port[1 - _PORT_LETTERS :]}" if len(port) > _PORT_LETTERS else f"{lane.number} {port}"
    style = _COLOURS.get(lane.state, "")
    body = Group(*_big(lane.state), Text(lane.mac or "-"), Text(lane.did or "-"), *_below(lane))
    shape = box.HEAVY if is_selected else box.SQUARE
    return Panel(body, title=title, title_align="left", style=style, box=shape, height=10)


def _big(state: str) -> list[RenderableType]:
    if state in _BIG:
        return [Align.center(Text("\n".join(_BIG[state])))]
    return [Align.center(Text(f"\n{state}\n", "bold"))]


def _below(lane: LaneState) -> list[RenderableType]:
    if lane.state == lane_state.FAIL:
        return [Text(f"{lane.code} {lane.text}", overflow="ellipsis"), Text(f"→ {lane.hint}")]
    if lane.state == lane_state.FLASHING and lane.total:
        percent = 100 * lane.done // lane.total
        return [ProgressBar(total=lane.total, completed=lane.done), Text(f"{percent} % {lane.part}")]
    secured = f", secured {lane.secured}" if lane.secured else ""
    return [Text(f"{lane.state} {lane.seconds} s{secured}" if lane.state == lane_state.PASS else "")]


def _foot(station: Station, keys: Keys) -> RenderableType:
    counts = station.stats
    share = "-" if counts.yield_percent is None else f"{counts.yield_percent} %"
    takt = "-" if counts.takt_seconds is None else f"{counts.takt_seconds} s"
    text = f"passed {counts.passed}   failed {counts.failed}   again {counts.again}   yield {share}   takt {takt}"
    worst = counts.codes.most_common(3)
    faults = "   faults " + ", ".join(f"{code} x{count}" for code, count in worst) if worst else ""
    if keys.prompt:
        below = Text(f"{keys.prompt}: {keys.typed}_   (Esc: back)", "bold yellow")
    elif keys.message:
        below = Text(keys.message, "bold yellow")
    else:
        below = Text("   ".join(f"{key} {what}" for key, what in keys.table.items()) + "   1-9 lane")
    return Panel(Group(Text(text + faults, "bold"), below), box=box.SQUARE, padding=(0, 1))
