"""Pools on both databases: a test that takes `factory` runs on SQLite and on a real PostgreSQL server.

And what the tests of eFuses and signatures share.
"""

from collections.abc import Iterator

import factory_lab
import postgres_lab
import pytest
import secure
import virtual_efuses


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a PostgreSQL server of this test run; skips where there is none."""
    reason = postgres_lab.missing_reason()
    if reason:
        pytest.skip(reason)
    with postgres_lab.postgres() as server:
        yield server


@pytest.fixture
def pool_url(request: pytest.FixtureRequest, tmp_path) -> str | None:
    """None for SQLite, the address of a fresh database for PostgreSQL."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return None
    server = request.getfixturevalue("postgres_server")
    return postgres_lab.new_database(server, f"{tmp_path.parent.name}-{tmp_path.name}".lower()[-60:])


@pytest.fixture
def factory(pool_url, tmp_path) -> Iterator[factory_lab.Factory]:
    """A factory with five licences."""
    made = factory_lab.make_factory(tmp_path, pool_url)
    yield made
    made.pool.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A signing key of these tests: what `secure.make_key` returns."""
    return secure.make_key(tmp_path_factory.mktemp("key"))


@pytest.fixture(scope="module")
def memory() -> Iterator[virtual_efuses.Memory]:
    """What espefuse did to virtual chips in this module, and need not do again."""
    with virtual_efuses.Memory().used() as found:
        yield found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marks = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "pool_url" in metafunc.fixturenames and "pool_url" not in marks:
        metafunc.parametrize("pool_url", ["sqlite", "postgres"], indirect=True)
