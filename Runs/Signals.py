"""Signals that ask a program to stop: noted until it can save, or raised."""
import signal
import threading
import time
from contextlib import contextmanager

from Utils.Errors import StoppedError
from Utils.TimeLogger import log


def install(numbers, handler):
    """Let the handler take these signals; returns what `restore` takes. Outside the main thread, where Python allows no
    handlers, nothing happens."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, handler) for number in numbers}


def restore(before):
    for number, handler in before.items():
        signal.signal(number, handler)


class StopSignals:
    """While entered, a first SIGINT or SIGTERM is only noted in `number`; a later one acts at once. What comes within
    ONCE seconds of the first is the same request: batch systems signal a sweep, which passes it on, and its runs."""

    ONCE = 1

    def __enter__(self):
        self.number = None
        self.before = install((signal.SIGINT, signal.SIGTERM), self._note)
        return self

    def __exit__(self, *_):
        restore(self.before)

    def _note(self, number, _):
        if self.number is None:
            self.number, self.since = number, time.monotonic()
            log('stopping at the next step; once more stops at once, without saving')
        elif time.monotonic() - self.since > self.ONCE:
            restore(self.before)
            signal.raise_signal(number)


@contextmanager
def raised_signals():
    """While entered, SIGTERM and SIGHUP raise StoppedError."""
    def stopped(number, _):
        raise StoppedError(number, 'stopped; the same command goes on from there')

    before = install((signal.SIGTERM, signal.SIGHUP), stopped)
    try:
        yield
    finally:
        restore(before)
