"""Ticks on both sides of the wrap, and what the errors carry."""

from helpers import raises

from upeer.base.clock import earlier, ticks_add, ticks_diff, ticks_ms
from upeer.base.errors import CryptoError, LocalError, ProtocolError, RemoteError

LAST = (1 << 30) - 1


def test_ticks_stay_below_the_wrap_and_advance():
    start = ticks_ms()
    assert 0 <= start <= LAST
    now = start
    while now == start:
        now = ticks_ms()
    assert 0 < ticks_diff(now, start) < 10000


def test_ticks_add_wraps():
    assert ticks_add(LAST, 1) == 0
    assert ticks_add(LAST - 4, 10) == 5
    assert ticks_add(3, -5) == LAST - 1


def test_ticks_diff_over_the_wrap():
    assert ticks_diff(5, LAST) == 6
    assert ticks_diff(LAST, 5) == -6
    assert ticks_diff(7, 7) == 0
    half = 1 << 29
    assert ticks_diff(half - 1, 0) == half - 1
    assert ticks_diff(half, 0) == -half


def test_earlier():
    assert earlier(None, None) is None
    assert earlier(5, None) == earlier(None, 5) == 5
    assert earlier(5, 6) == earlier(6, 5) == 5
    assert earlier(LAST, 2) == earlier(2, LAST) == LAST


def test_errors_form_a_family():
    def refuse():
        raise RemoteError(7, "busy")

    error = raises(ProtocolError, refuse)
    assert (error.code, error.reason) == (7, "busy")
    assert RemoteError(1).reason == ""
    assert issubclass(LocalError, ProtocolError) and issubclass(CryptoError, ProtocolError)
