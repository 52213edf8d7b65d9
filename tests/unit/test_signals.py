"""Requests to stop: noticed later or at once, and everything as before afterwards."""

import os
import signal

import pytest

from cloudmask.errors import Interrupted
from cloudmask.system import signals


def test_a_request_is_noticed_where_the_work_looks():
    before = signal.getsignal(signal.SIGUSR1)
    with signals.stop_requests() as stop:
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop.requested
    assert signal.getsignal(signal.SIGUSR1) is before


def test_the_first_signal_interrupts_and_a_second_does_not_disturb():
    before = signal.getsignal(signal.SIGTERM)
    cleaned = False
    with (
        pytest.raises(Interrupted, match="the copy is given back"),
        signals.interrupted_by(signal.SIGTERM, signal.SIGHUP, message="the copy is given back"),
    ):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("not interrupted")
        finally:
            os.kill(os.getpid(), signal.SIGHUP)
            cleaned = True
    assert cleaned
    assert signal.getsignal(signal.SIGTERM) is before
