"""What a worker shows of its runs: one bar over all where the output is a terminal, else a line per run."""
import time

from tqdm import tqdm

from Experiments.Estimates import in_words
from Experiments.SavedRuns import describe, read_run
from Utils.TimeLogger import log

NAMED = 3  # runs at work that the bar names


def counted(number, noun):
    return f'{number} {noun}' + ('' if number == 1 else 's')


class Progress:
    def __init__(self, done, estimates, at_a_time, example=None):
        """done: runs that are there; example: a job like those that are still to be chosen."""
        self.done, self.estimates, self.at_a_time, self.example = done, estimates, at_a_time, example
        self.total = self.later = 0
        self.bar = None
        self.waiting = (None, (0, 0))  # jobs not begun, with the seconds of those that are known and how many these are

    def expect(self, number, later):
        """How many jobs are left, or have failed, and how many more will be chosen."""
        self.later, self.total = later, self.done + number + later
        if self.bar is not None:
            self.bar.total = self.total

    def announce(self, left):
        """How many runs are missing, and about how long they take."""
        number = len(left) + self.later
        if not number:
            log(f'{"the run is" if self.total == 1 else f"all {self.total} runs are"} there')
            return
        seconds, known = self.of_all(left)
        if not known:
            time_needed = 'no finished run is like them, so that nothing is known of the time they take'
        else:
            time_needed = f'about {in_words(seconds / self.at_a_time)}'
            if known < number:
                time_needed += f' for {known} of them; no finished run is like the others'
        log(f'{number} of {counted(self.total, "run")} {"is" if number == 1 else "are"} missing'
            + (f' ({self.later} of points that are still to be chosen)' if self.later else '')
            + (f'; {self.at_a_time} at a time' if self.at_a_time > 1 else '') + f': {time_needed}')

    def of_all(self, jobs):
        """(seconds of those of which something is known, how many these are), of these and of those to be chosen."""
        seconds, known = self.estimates.of_all(jobs)
        each = seconds / known if known else self.example and self.estimates.seconds(self.example)
        return (seconds, known) if each is None else (seconds + each * self.later, known + self.later)

    def __enter__(self):
        self.bar = tqdm(total=self.total, initial=self.done, disable=None, dynamic_ncols=True,
                        bar_format='runs {n_fmt}/{total_fmt} |{bar}| {desc}')
        return self

    def __exit__(self, *_):
        self.bar.set_description_str('')
        self.bar.close()

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
            self.bar.set_description_str(f'{self.time_left(left, children).lstrip(", ")} | {shown}'.strip(' |'))

    def time_left(self, left, children):
        """', about 12 min left', or nothing where nothing is known."""
        at_work = {child.job: child for child in children}
        idle = [job for job in left if job not in at_work]
        if self.waiting[0] != (len(idle), self.done, self.later):
            self.waiting = ((len(idle), self.done, self.later), self.of_all(idle))
        seconds, known = self.waiting[1]
        rest = [max(whole - (time.monotonic() - child.since), whole / 20) for job, child in at_work.items()
                if (whole := self.estimates.seconds(job)) is not None]
        if not known + len(rest):
            return ''
        unknown = len(left) + self.later - known - len(rest)
        return (f', about {in_words(max([*rest, (seconds + sum(rest)) / self.at_a_time]))} left'
                + (f' without {unknown} of which nothing is known' if unknown > 0 else ''))
