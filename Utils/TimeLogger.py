"""What the user sees while a run works: log lines with the time, progress bars, durations."""
import time

from tqdm import tqdm


def log(message):
    """Print one line with the date and time before it. Bars in progress are kept intact."""
    tqdm.write(f'{time.strftime("%Y-%m-%d %H:%M:%S")}  {message}')


def progress(iterable, description, **settings):
    """A progress bar over `iterable` that vanishes when done; silent where stderr is no terminal."""
    return tqdm(iterable, description, disable=None, leave=False, dynamic_ncols=True, **settings)


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
