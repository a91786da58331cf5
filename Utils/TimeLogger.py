"""What the user sees while a run works: log lines with the time, progress bars, durations."""
import time

from tqdm import tqdm

_printed = {'line': 0.0}  # when the last log line was
_watched = {'steps': None}  # who hears of the steps of every loop


def log(message):
    """Print one line with the date and time before it. Bars in progress are kept intact."""
    _printed['line'] = time.perf_counter()
    tqdm.write(f'{time.strftime("%Y-%m-%d %H:%M:%S")}  {message}')


def last_line():
    """When `log` was last called, by time.perf_counter."""
    return _printed['line']


def watch_steps(listener):
    """Let listener(description, done, total) hear of the beginning and every step of each `progress`; None: nobody."""
    _watched['steps'] = listener


def progress(sequence, description, initial=0):
    """A progress bar over `sequence` that vanishes when done; silent where stderr is no terminal.

    initial: how many came before it."""
    total = initial + len(sequence)
    return _bar(_told_of(sequence, description, initial, total), description, total, initial=initial)


def progress_of_bytes(description):
    """A bar to be told of bytes as they come."""
    return _bar(None, description, unit='B', unit_scale=True)


def _bar(sequence, description, total=None, **more):
    return tqdm(sequence, description, total, disable=None, leave=False, dynamic_ncols=True, **more)


def _told_of(sequence, description, done, total):
    tell = _watched['steps'] or (lambda *_: None)
    tell(description, done, total)
    for number, item in enumerate(sequence, done + 1):
        yield item
        tell(description, number, total)


def show_loss(bar, loss, every=10):
    """Write a step's loss beside the bar, now and then: reading it makes a GPU wait."""
    if not bar.disable and bar.n % every == 0:
        bar.set_postfix(loss=f'{float(loss.detach()):.4f}')


class Stopwatch:
    """Seconds since it was made or last read with `lap`."""

    def __init__(self):
        self.start = time.perf_counter()

    def read(self):
        return time.perf_counter() - self.start

    def lap(self):
        now = time.perf_counter()
        seconds, self.start = now - self.start, now
        return seconds
