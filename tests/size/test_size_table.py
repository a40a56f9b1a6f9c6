"""The size table holds: no module grew unrecorded, and what stays loaded fits its budget."""

import groups
import size_table


def test_no_unrecorded_growth_and_within_budget(micropython):
    assert size_table.faults(size_table.measure(), size_table.recorded()) == []


def test_growth_new_and_stale_modules_are_faults(monkeypatch):
    monkeypatch.setattr(groups, "PASSING", {"upeer/gone.py"})
    lines = size_table.faults({"upeer/a.py": 1065, "upeer/b.py": 10}, {"upeer/a.py": 1000, "upeer/old.py": 5})
    assert lines == [
        "upeer/a.py: grew from 1000 to 1065 bytes",
        "upeer/b.py: 10 bytes, not recorded",
        "upeer/old.py: recorded, but not there",
        "upeer/gone.py: named in groups.py, but not there",
    ]


def test_limit_counts_what_is_not_passing(monkeypatch):
    monkeypatch.setattr(groups, "PASSING", {"upeer/late.py"})
    sizes = {"upeer/a.py": groups.LOADED_LIMIT, "upeer/late.py": 5000}
    assert size_table.faults(sizes, sizes) == []
    assert size_table.faults(sizes | {"upeer/a.py": groups.LOADED_LIMIT + 1}, sizes) == [
        "loaded: 40961 bytes, over the limit of 40960"
    ]


def test_passing_module_imported_at_the_top_is_a_fault(monkeypatch):
    monkeypatch.setattr(groups, "PASSING", {"upeer/base/errors.py"})
    lines = size_table.pinned_by_imports({"upeer/crypto/aead.py": 1, "upeer/base/errors.py": 1})
    assert lines == [
        "upeer/base/errors.py: upeer/crypto/aead.py stays loaded and imports it at its top, so it stays too"
    ]
