"""The size table holds: no module grew unrecorded, and what stays loaded fits its budget."""

import ast

import chip_ram
import groups
import mpy_tools
import size_table

from upeer_board import mpy


def test_no_unrecorded_growth_and_within_budget(micropython):
    assert size_table.faults(size_table.measure(), size_table.recorded()) == []


def test_growth_new_and_stale_modules_are_faults(monkeypatch):
    monkeypatch.setattr(groups, "PASSING", {"upeer/gone.py"})
    sizes = {"mpy": {"upeer/a.py": 1065, "upeer/b.py": 10}, "core": {"Session": 1096, "Acks": 1097}}
    table = {"mpy": {"upeer/a.py": 1000, "upeer/old.py": 5}, "core": {"Session": 1000, "Acks": 1000}, "ram": {"x": 1}}
    assert size_table.faults(sizes, table) == [
        "upeer/a.py: grew from 1000 to 1065 bytes of .mpy",
        "upeer/b.py: 10 bytes of .mpy, not recorded",
        "upeer/old.py: recorded of .mpy, but not there",
        "Acks: grew from 1000 to 1097 bytes of the chip's heap in the core",
        "upeer/gone.py: named in groups.py, but not there",
    ]


def test_limit_counts_what_is_not_passing(monkeypatch):
    monkeypatch.setattr(groups, "PASSING", {"upeer/late.py"})
    sizes = {"upeer/a.py": groups.LOADED_LIMIT, "upeer/late.py": 5000}
    table = {"mpy": sizes}
    assert size_table.faults(table, table) == []
    assert size_table.faults({"mpy": sizes | {"upeer/a.py": groups.LOADED_LIMIT + 1}}, table) == [
        "loaded: 40961 bytes, over the limit of 40960"
    ]


def test_passing_module_imported_at_the_top_is_a_fault(monkeypatch):
    monkeypatch.setattr(groups, "PASSING", {"device/login.py"})
    lines = size_table.pinned_by_imports({"device/core.py": "from device.login import a\n", "device/login.py": ""})
    assert lines == ["device/login.py: device/core.py stays loaded and imports it at its top, so it stays too"]


def test_what_code_takes_of_the_chips_heap(mpy32_version, tmp_path):
    """A class of two methods, a function and a table: what is measured of each is what taking it away saves."""
    source = "class A:\n def m(self, a):\n  return a + 1\n def n(self):\n  return self.m(2)\n"
    rest = "def f(a):\n return a * 3\n"
    table = "t = (1, 2, 3)\n"

    def measured(text):
        files = {"device/core.py": "import upeer.other\n" + text, "upeer/other.py": "", "upeer/late.py": "x = 7\n"}
        shipped = {f"lib/{name[:-3]}.mpy": mpy.compile_text(data, name) for name, data in files.items()}
        return chip_ram.measure(shipped, tmp_path)

    whole, without_f = measured(source + rest + table), measured(source + table)
    assert set(whole.parts) >= {"A.m", "A.n", "A", "f", "t"} and 0 < whole.modules["upeer/late.py"] < 200
    assert whole.core == whole.names + whole.tables + sum(whole.parts.values())
    saved = whole.core - without_f.core
    assert whole.parts["f"] <= saved <= whole.parts["f"] + 32, (saved, whole.parts)


def test_what_the_loader_takes_a_group_to_cost_is_what_was_measured():
    source = ast.parse((mpy_tools.FIRMWARE / "device/loader.py").read_text())
    table, cost = (
        ast.literal_eval(node.value)
        for name in ("TRANSIENT", "COST")
        for node in source.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and ast.unparse(node).startswith(name)
    )
    measured = size_table.recorded()["ram"]
    for group, modules in table.items():
        names = ["device." + group] if len(modules) > 1 else modules
        size = sum(measured[name.replace(".", "/") + ".py"] for name in names)
        assert size <= cost[group] <= 1.3 * size + 256, (group, size)
