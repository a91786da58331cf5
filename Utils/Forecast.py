"""How long an epoch and the run will take, said in the log while the steps go by."""
import sys
from statistics import mean
from time import perf_counter

from Utils.TimeLogger import last_line, log, watch_steps

FIRST_STEPS, FIRST_SECONDS = 100, 5  # after which of them something is said first
EVERY = 60  # seconds: where no bars are seen, no longer without a line


class Forecast:
    """Hears of every step of every `progress` while it is entered, and of where epochs begin and end.

    It speaks after the first hundred steps or five seconds, again when the steps of the stage `last`, which ends an
    epoch, tell how long the run takes, and then once a minute where there is neither a bar nor another line.
    """

    def __init__(self, epochs, last, at_most=False):
        """epochs: of the run; at_most: whether it may end before them."""
        self.epochs, self.last, self.at_most = epochs, last, at_most
        self.bars = sys.stderr.isatty()
        self.began = perf_counter()
        self.steps = 0
        self.spoken = self.run_told = False
        self.durations = []  # of the epochs that were seen from their beginning to their end

    def __enter__(self):
        watch_steps(self.step)
        return self

    def __exit__(self, *_):
        watch_steps(None)

    def begin_epoch(self, epoch):
        self.epoch, self.epoch_began, self.whole = epoch, perf_counter(), True
        self.stage, self.stage_left = None, 0

    def end_epoch(self):
        if self.whole:
            self.durations.append(perf_counter() - self.epoch_began)
        if not self.run_told and self.epoch + 1 < self.epochs and self.durations and self.enough(self.steps,
                                                                                                  self.began):
            self.spoken = self.run_told = True
            log(self.run_left((self.epochs - self.epoch - 1) * mean(self.durations)))

    def step(self, stage, done, total):
        """To be called at the beginning of a stage and after each of its steps; done: how many there are of total."""
        now = perf_counter()
        if stage != self.stage:
            self.stage, self.stage_began, self.stage_first = stage, now, done
            self.whole = self.whole and done == 0
            return
        self.steps += 1
        made = done - self.stage_first
        knows = bool(self.durations) or (stage == self.last and self.whole)
        if not self.spoken:
            due = self.enough(self.steps, self.began)
        elif not self.run_told and knows:
            due = self.enough(made, self.stage_began)
        else:
            due = not self.bars and now - last_line() >= EVERY
        if due and done < total:  # a stage that is over needs no word
            self.spoken, self.run_told = True, self.run_told or knows
            log(self.words(now, made, done, total, knows))

    def enough(self, steps, since):
        return steps >= FIRST_STEPS or perf_counter() - since >= FIRST_SECONDS

    def words(self, now, made, done, total, knows):
        pace = (now - self.stage_began) / made
        left = pace * (total - done)
        where = f'{self.stage} of epoch {self.epoch}: step {done} of {total}, '
        if not knows:
            return f'{where}{duration(left)} to the last of them'
        whole = mean(self.durations) if self.durations else self.stage_began - self.epoch_began + pace * total
        left = max(left, whole - (now - self.epoch_began)) if self.durations else left
        return (f'{where}{duration(left)} to the end of the epoch, '
                + self.run_left(left + (self.epochs - self.epoch - 1) * whole))

    def run_left(self, seconds):
        return f'{duration(seconds)} to the end of the run' + (
            ', if --patience does not end it before' if self.at_most else '')


def duration(seconds):
    """About how long, in words: about 40 s, about 12 min, about 3.5 h."""
    if seconds < 90:
        return f'about {max(1, seconds):.0f} s'
    return f'about {seconds / 60:.0f} min' if seconds < 90 * 60 else f'about {seconds / 3600:.1f} h'
