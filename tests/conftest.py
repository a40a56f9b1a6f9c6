"""What every suite shares: the project's root, and skips with a reason where a program or a right is missing."""

import os
import shutil
import signal
from pathlib import Path

import long_first
import mpy32
import mpy_tools
import pytest


def pytest_configure() -> None:
    """Take Ctrl-C where a shell that runs the tests in the background ignores it: all programs would inherit that."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that take longest first."""
    items.sort(key=lambda item: long_first.place(item.path))


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The folder that holds pyproject.toml."""
    return mpy_tools.ROOT


@pytest.fixture(scope="session")
def micropython() -> Path:
    """Path of the MicroPython unix port; skips the test where there is none."""
    reason = mpy_tools.missing_reason()
    if reason:
        pytest.skip(reason)
    return mpy_tools.MICROPYTHON


@pytest.fixture(scope="session")
def mpy32_version() -> str:
    """The newest version of 32-bit MicroPython; skips the test where there is none."""
    reason = mpy32.missing_reason()
    if reason:
        pytest.skip(reason)
    return mpy32.VERSIONS[-1]


@pytest.fixture(scope="session")
def valgrind() -> str:
    """Path of valgrind; skips the test where it is not installed."""
    path = shutil.which("valgrind")
    if path is None:
        pytest.skip("no valgrind: .ci/system-packages bench installs it")
    return path


@pytest.fixture(scope="session")
def network_namespaces() -> None:
    """Skips the test where network namespaces and nftables cannot be used."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    for program in ("ip", "nft"):
        if shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is None:
            pytest.skip(f"no {program}: .ci/system-packages natlab installs it")
