"""Requests to stop: noticed later or at once, and everything as before afterwards."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from cloudmask.commands import run
from cloudmask.errors import EXIT_FAULT, EXIT_INTERRUPTED, Interrupted
from cloudmask.system import signals


def test_a_request_is_noticed_where_the_work_looks():
    before = signal.getsignal(signal.SIGUSR1)
    with signals.stop_requests() as stop:
        stop.noticed_by_work = True
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


def test_before_the_work_looks_a_request_interrupts_at_once():
    with (
        pytest.raises(Interrupted, match="begins again"),
        signals.stop_requests(message="the same command begins again") as stop,
    ):
        os.kill(os.getpid(), signal.SIGTERM)
    assert stop.requested


class Panic(BaseException):
    """What PyO3 raises where code in Rust fails."""


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, EXIT_INTERRUPTED), (signal.SIGINT, 130)])
@pytest.mark.parametrize("made_of_it", [Panic, ImportError])
def test_an_interruption_stays_one_whatever_an_import_makes_of_it(number, code, made_of_it, capsys):
    def command():
        with contextlib.suppress(BaseException):
            os.kill(os.getpid(), number)
        raise made_of_it

    assert run(command) == code
    assert capsys.readouterr().err.startswith("interrupted")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_after_an_interruption_is_told():
    def command():
        with contextlib.suppress(BaseException):
            os.kill(os.getpid(), signal.SIGTERM)
        raise OSError(28, "No space left on device")

    assert run(command) == EXIT_FAULT
    with pytest.raises(Panic):
        run(lambda: (_ for _ in ()).throw(Panic))


def test_no_library_swallows_an_interruption():
    """Some go on after any Exception, say while they load their parts."""
    with (
        pytest.raises(Interrupted),
        signals.interrupted_by(signal.SIGTERM, message="x"),
        contextlib.suppress(Exception),
    ):
        os.kill(os.getpid(), signal.SIGTERM)


HEEDLESS = """
import signal, sys, time
from cloudmask.system import signals
signals.GRACE = signals.GRACE_OF_SAVING = 1.0
signals.REPEATED_SECONDS = 0.5
with signals.{context} as stop:
    {setup}
    print("ready", flush=True)
    {work}
"""
# Waits in the C library without letting Python run its handlers, as a library does that waits for
# another node.
STUCK = """
    import ctypes
    mutex = ctypes.create_string_buffer(64)
    for _ in range(2):
        ctypes.CDLL(None).pthread_mutex_lock(mutex)
"""
SWALLOWING = """
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass
"""
BY = "interrupted_by(signal.SIGTERM, message='x')"
REQUESTS = "stop_requests()"


def run_heedless(context, work, setup="pass"):
    code = HEEDLESS.format(context=context, work=work, setup=setup)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)  # The work begins.
    return process


@pytest.mark.parametrize(
    ("context", "work", "setup"),
    [
        (BY, STUCK, "pass"),
        (BY, SWALLOWING, "pass"),
        (REQUESTS, STUCK, "pass"),
        (REQUESTS, STUCK, "stop.noticed_by_work = True"),
    ],
)
def test_a_request_without_effect_ends_the_process(context, work, setup):
    """Once such a process held its lock for half an hour."""
    process = run_heedless(context, work, setup)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == EXIT_INTERRUPTED
    assert errors == "interrupted: SIGTERM had no effect on the work\n"


def test_work_that_saves_has_its_time():
    """It looks at the request by itself, however long its step takes."""
    work = "time.sleep(2); assert stop.requested; print('saved')"
    process = run_heedless(REQUESTS, work, "stop.noticed_by_work = True")
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=120)[0] == "saved\n"
    assert process.returncode == 0


def test_a_repeated_signal_ends_the_process_but_not_one_sent_twice():
    work = "time.sleep(60)"
    for pause, code in ((0.0, None), (1.0, -signal.SIGTERM)):
        process = run_heedless(REQUESTS, work, "stop.noticed_by_work = True; signals.GRACE = 60")
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2 + pause)
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3 if pause else 0.5)
        assert process.returncode == code
        process.kill()
        process.communicate()


GOING_ON = """
    for _ in range(100):
        time.sleep(0.1)
    print("nothing came")
"""
IN_A_CALLBACK = f"""
    class Waiting:
        def __del__(self):
            time.sleep(2)
    waiting = Waiting()
    del waiting
{GOING_ON}"""
# Code in C that runs Python and prints the errors that it gets (PyErr_Print), as TensorFlow's does.
IN_C = """
    import ctypes
    ctypes.pythonapi.PyRun_SimpleString(b'''
import time
{code}''')
"""
SLEEPING = IN_C.format(code="time.sleep(2)")
MADE_OF_IT = IN_C.format(
    code="""
try:
    time.sleep(2)
except BaseException:
    raise SystemError("made of it") from None
"""
)


@pytest.mark.parametrize("where", [IN_A_CALLBACK, SLEEPING + GOING_ON])
@pytest.mark.parametrize(
    ("number", "ends_with"),
    [(signal.SIGTERM, "Interrupted: x"), (signal.SIGINT, "KeyboardInterrupt")],
)
def test_what_is_swallowed_and_printed_is_sent_again(number, ends_with, where):
    """Python prints what is raised there, and goes on."""
    process = run_heedless(BY, where)
    process.send_signal(number)
    output, errors = process.communicate(timeout=120)
    assert output == "" and errors.rstrip().endswith(ends_with)
    assert "Exception ignored" not in errors and errors.count("Traceback") == 1


@pytest.mark.parametrize(
    ("number", "context"),
    [(signal.SIGTERM, BY), (signal.SIGINT, "interrupts_noted()")],
)
def test_what_code_in_c_makes_of_a_request_is_not_printed(number, context):
    process = run_heedless(context, MADE_OF_IT)
    process.send_signal(number)
    assert process.communicate(timeout=120) == ("", "")


def test_code_in_c_prints_its_own_errors():
    process = run_heedless(BY, MADE_OF_IT.replace("time.sleep(2)", "1 / 0"))
    assert "SystemError: made of it" in process.communicate(timeout=120)[1]
