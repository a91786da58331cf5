"""What a worker shows of its runs: one bar over all where the output is a terminal, else a line per run."""
import time

from tqdm import tqdm

from Experiments.Estimates import in_words
from Experiments.SavedRuns import describe, read_run
from Utils.TimeLogger import log

NAMED = 3  # runs at work that the bar names


class Progress:
    def __init__(self, total, done, estimates, at_a_time):
        self.total, self.done, self.estimates, self.at_a_time = total, done, estimates, at_a_time
        self.bar = None
        self.waiting = (None, (0, 0))  # jobs not begun, with the seconds of those that are known and how many these are

    def announce(self, left, later):
        """How many runs are missing, and about how long they take. later: how many more will be chosen."""
        if not left and not later:
            log(f'all {self.total} runs are there')
            return
        seconds, known = self.estimates.of_all(left)
        if not known:
            time_needed = 'no finished run is like them, so that nothing is known of the time they take'
        else:
            time_needed = f'about {in_words(seconds * (known + later) / known / self.at_a_time)}'
            if known < len(left):
                time_needed += f' for {known} of them; no finished run is like the others'
        log(f'{len(left)} of {self.total} runs are missing'
            + (f', and {later} of points that are still to be chosen' if later else '')
            + (f'; {self.at_a_time} at a time' if self.at_a_time > 1 else '') + f': {time_needed}')

    def __enter__(self):
        self.bar = tqdm(desc='runs', total=self.total, initial=self.done, disable=None, dynamic_ncols=True,
                        bar_format='{desc} {n_fmt}/{total_fmt} |{bar}|{postfix}')
        return self

    def __exit__(self, *_):
        self.bar.close()

    def grow(self, number):
        """There are so many runs more."""
        self.total += number
        self.bar.total = self.total

    def advance(self, folder):
        """One more is finished, here or elsewhere."""
        self.done += 1
        self.bar.update()
        self.estimates.learn(folder)

    def made(self, folder, left, children):
        """One was made here: its line."""
        self.advance(folder)
        log(f'{folder}: {describe(read_run(folder))}'
            + (f' | {self.done} of {self.total} runs{self.time_left(left, children)}' if self.bar.disable else ''))

    def show(self, left, children):
        if not self.bar.disable:
            names = [child.job.name + (f' epoch {child.epoch}' if child.epoch else '') for child in children]
            shown = ', '.join(names[:NAMED]) + (', ...' if len(names) > NAMED else '')
            self.bar.set_postfix_str(f'{self.time_left(left, children).lstrip(", ")} | {shown}'.strip(' |'))

    def time_left(self, left, children):
        """', about 12 min left', or nothing where nothing is known."""
        at_work = {child.job: child for child in children}
        idle = [job for job in left if job not in at_work]
        if self.waiting[0] != (len(idle), self.done):
            self.waiting = ((len(idle), self.done), self.estimates.of_all(idle))
        seconds, known = self.waiting[1]
        rest = [max(whole - (time.monotonic() - child.since), whole / 20) for job, child in at_work.items()
                if (whole := self.estimates.seconds(job)) is not None]
        if not known + len(rest):
            return ''
        unknown = len(left) - known - len(rest)
        return (f', about {in_words(max([*rest, (seconds + sum(rest)) / self.at_a_time]))} left'
                + (f' without {unknown} of which nothing is known' if unknown > 0 else ''))
