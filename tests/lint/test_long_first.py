"""The order of the tests names files that are there, and the run has them first."""

import types
from pathlib import Path

import long_first


def test_files_are_there():
    assert [name for name in long_first.FILES if not (long_first.TESTS / name).is_file()] == []


def test_order_is_kept_and_short_files_come_last():
    places = [long_first.place(long_first.TESTS / name) for name in long_first.FILES]
    assert places == sorted(set(places))
    assert long_first.place(long_first.TESTS / "lint" / "test_long_first.py") > places[-1]


def test_collection_follows_it(request):
    conftest = request.config.pluginmanager.get_plugin(str(long_first.TESTS / "conftest.py"))
    paths = [Path(__file__), *(long_first.TESTS / name for name in reversed(long_first.FILES))]
    items = [types.SimpleNamespace(path=path) for path in paths]
    conftest.pytest_collection_modifyitems(items)
    assert [item.path for item in items] == paths[:0:-1] + paths[:1]
