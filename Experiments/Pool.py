"""Runs that are wanted, made several at a time by any number of workers that share their folders.

A worker is a command that was given once more, on this machine or on another one. It takes a job by the lock file
beside the job's folder, leaves out what others hold, and looks at that again later: a job whose worker died goes on
from its checkpoint. The run itself holds a lock in its folder, so that one that outlives its worker is left alone until
it ends. At the end each worker waits for the others' last runs.
"""
import os
import selectors
import shlex
import signal
import time
from contextlib import suppress

from Experiments.Estimates import Estimates
from Experiments.Jobs import missing
from Experiments.Progress import Progress, counted
from Experiments.Slots import Slot, launch
from Experiments.Sources import Source
from Runs.Company import LOST
from Runs.Lock import Lock
from Runs.Results import RunFolder
from Runs.Signals import raised_signals
from Utils.Errors import InputError, StoppedError
from Utils.TimeLogger import log

SENTENCE = 'Main.py: '  # what a run begins its last sentence with
POLL = 1  # seconds after which a worker with nothing to do looks again at what others hold


class Child:
    """A run of Main.py at work here."""

    def __init__(self, job, slot, claim):
        self.job, self.slot, self.claim = job, slot, claim
        self.since = time.monotonic()
        self.epoch = ''  # as its log has it: 3/49
        self.last = ''  # line that it said
        self.unwanted = False  # stopped by its Source
        self.rest = b''
        self.process = launch(job, slot)

    def read(self):
        """Whether it has finished an epoch since; None at the end of all that it says."""
        data = os.read(self.process.stdout.fileno(), 2**16)
        *lines, self.rest = (self.rest + data).split(b'\n')
        told = False
        for line in (*lines, *(() if data else (self.rest,))):
            text = line.decode(errors='replace').strip()
            if not self.last.startswith(SENTENCE):  # torchrun has much to say after it
                self.last = text or self.last
            if '  epoch ' in text:
                self.epoch, told = text.split('  epoch ')[1].split()[0], True
        return told if data else None


class Pool:
    def __init__(self, jobs, slots, source, keep_embeddings):
        jobs = list({job.folder: job for job in jobs}.values())
        self.source, self.keep_embeddings = source, keep_embeddings
        self.left = missing(jobs)  # not known to be finished, in the order in which they are begun
        self.free, self.children = list(slots), {}
        self.claims, self.locks = {}, {}  # by folder: of jobs, and of their runs, as far as they were looked at
        self.failures, self.deaths = {}, {}  # by job: last words; where it stood when it was killed
        self.began = time.time()
        self.look_at = 0.0  # when to look again at what others hold
        self.waiting = False
        self.selector = selectors.DefaultSelector()
        self.estimates = Estimates([job.folder for job in jobs], slots[0].threads)
        self.progress = Progress(len(jobs) - len(self.left), self.estimates, len(slots),
                                 source.example() or next(iter(jobs), None))
        self.expect()
        self.progress.announce(self.left)

    def work(self):
        """Make all runs, or wait until others have made them. InputError at the end where some failed."""
        with raised_signals(), self.progress:
            try:
                self.fill()
                while self.children or self.left:
                    self.wait()
                    self.fill()
            except BaseException:
                self.stop()
                raise
            finally:
                for claim in self.claims.values():
                    claim.release()
        if self.failures:
            raise InputError(self.verdict())

    # What to begin

    def fill(self):
        """Begin runs while there are a free slot and a job that nobody holds."""
        while self.free and time.monotonic() >= self.look_at:
            job = next((job for job in list(self.left) if self.may_begin(job)), None)
            if job:
                self.begin(job)
            elif new := self.source.more():
                missing(new)  # refuses folders of other runs
                self.left += new
                self.expect()
            else:
                self.look_at = time.monotonic() + POLL
                if self.left and not self.children and not self.waiting:
                    self.waiting = True
                    self.say_for_whom()

    def may_begin(self, job):
        """Whether the job is to be begun here and now; then its claim is held. One that needs not be is left out."""
        if any(child.job is job for child in self.children.values()):
            return False
        if job.finished():
            self.finish(job)
        elif not self.source.wanted(job):
            self.leave_out(job)
        elif self.failed_elsewhere(job):
            self.fail(job, job.mark('failed').read_text())
        elif self.claim(job):
            if not self.run_at_work(job) and not job.finished():
                return True
            self.claims[job.folder].release()
        return False

    def claim(self, job):
        job.folder.parent.mkdir(parents=True, exist_ok=True)
        return self.claims.setdefault(job.folder, Lock(job.mark('claim'))).take()

    def run_at_work(self, job):
        """Whether a run holds the job's folder: one that has outlived its worker, or that somebody began by hand."""
        if not job.folder.is_dir():
            return False
        lock = self.locks.setdefault(job.folder, Lock(job.folder / RunFolder.LOCK))
        if not lock.take():
            return True
        lock.release()
        return False

    def failed_elsewhere(self, job):
        """Whether another worker has seen it fail since this one began."""
        with suppress(FileNotFoundError):
            return job.mark('failed').stat().st_mtime > self.began
        return False

    def begin(self, job):
        job.mark('failed').unlink(missing_ok=True)
        self.waiting = False
        self.source.begun(job)
        child = Child(job, self.free.pop(0), self.claims[job.folder])
        self.children[child.process.stdout.fileno()] = child
        self.selector.register(child.process.stdout, selectors.EVENT_READ, child)

    def say_for_whom(self):
        held = [(job, next((lock for lock in (self.locks.get(job.folder), self.claims.get(job.folder))
                            if lock and lock.path.exists()), None)) for job in self.left]
        names = [f'{job.folder}' + (f' ({lock.holder()})' if lock else '') for job, lock in held[:3]]
        log(f'waiting for {counted(len(held), "run")} at work elsewhere: {", ".join(names)}'
            + (', ...' if len(held) > len(names) else ''))

    # What comes of it

    def wait(self):
        """Until a run says something or it is time to look at what others do."""
        idle = self.free and self.left
        for key, _ in self.selector.select(max(0, self.look_at - time.monotonic()) if idle else POLL):
            child = key.data
            told = child.read()
            if told is None:
                self.ended(child)
            elif told and not child.unwanted and self.source.heard(child.job):
                child.unwanted = True
                child.process.send_signal(signal.SIGTERM)
        self.progress.show(self.left, self.children.values())

    def ended(self, child):
        job = child.job
        code = self.close(child)
        self.look_at = 0.0
        try:
            if code == 0 and job.finished():
                self.tidy(job)
                self.finish(job, here=True)
            elif child.unwanted:
                log(f'{job.folder}: pruned after epoch {child.epoch}, it falls behind')
                self.leave_out(job)
            elif code < 0 or LOST in child.last:
                self.died(job, max(-code, 0))
            elif not self.was_in_use(child):
                job.mark('failed').write_text(child.last or f'exit code {code}')
                self.fail(job, child.last or f'exit code {code}')
                with suppress(OSError):  # not empty
                    job.folder.parent.rmdir()
        finally:
            child.claim.release()

    def was_in_use(self, child):
        """Whether a run elsewhere was quicker, as one that outlives its worker may be; the job is looked at again."""
        return any(words in child.last for words in (RunFolder.IN_USE, Lock.LOST)) or self.run_at_work(child.job)

    def close(self, child):
        """Its exit code; its slot is free."""
        self.selector.unregister(child.process.stdout)
        del self.children[child.process.stdout.fileno()]
        child.process.stdout.close()
        self.free.append(child.slot)
        return child.process.wait()

    def tidy(self, job):
        """Remove what only serves to continue the run and, unless they are to be kept, the embeddings."""
        for pattern in ('checkpoint*', *(() if self.keep_embeddings else ('embeddings.npz',))):
            for path in job.folder.glob(pattern):
                path.unlink(missing_ok=True)

    def finish(self, job, here=False):
        if not here and job.mark('claim').exists() and self.claim(job):  # its worker died before it could
            self.tidy(job)
            self.claims[job.folder].release()
        self.left.remove(job)
        if here:
            self.progress.made(job.folder, self.left, self.children.values())
        else:
            self.progress.advance(job.folder)
        self.source.made(job)

    def expect(self):
        self.progress.expect(len(self.left) + len(self.failures), self.source.later())

    def leave_out(self, job):
        self.left.remove(job)
        self.expect()

    def died(self, job, number):
        """Killed from outside (a machine out of memory, ...), or one of its processes was: it goes on later, unless it
        got no further than when it was killed before."""
        how = f'signal {number}' if number else 'a signal to one of its processes'
        at = [path.stat().st_mtime_ns for path in sorted(job.folder.glob('checkpoint.pt'))]
        if self.deaths.get(job.folder) == at:
            self.fail(job, f'was killed twice by {how} without getting any further')
        else:
            log(f'{job.folder}: killed by {how}; it goes on from its checkpoint')
            self.deaths[job.folder] = at
            self.left.append(self.left.pop(self.left.index(job)))

    def fail(self, job, words):
        log(f'{job.folder} failed: {words}')
        self.failures[job] = words
        self.left.remove(job)
        self.source.failed(job)

    def verdict(self):
        """What failed, in a sentence: runs with the same last words together."""
        reasons = {}
        for job, words in self.failures.items():
            reasons.setdefault(words, []).append(str(job.folder))
        told = [f'{"The run" if len(folders) == 1 else "The runs"} {", ".join(folders)} failed: {words.rstrip(".")}.'
                for words, folders in reasons.items()]
        first = next(iter(self.failures))
        return (f'{" ".join(told)} The others are made. To see all that '
                f'{"it" if len(self.failures) == 1 else "the first of them"} says: '
                f'python {shlex.join(first.command())} --resume')

    def stop(self):
        """Let the runs at work save where they are and end; a second signal lets them end at once."""
        number = signal.SIGINT
        if self.children:
            with suppress(OSError):  # whoever reads it may be gone
                log(f'stopping, once {counted(len(self.children), "run")} at work '
                    f'{"has" if len(self.children) == 1 else "have"} saved')
        while self.children:
            for child in self.children.values():
                child.process.send_signal(number)
            try:
                while self.children:
                    for key, _ in self.selector.select():
                        if key.data.read() is None and self.close(key.data) == 0 and key.data.job.finished():
                            self.tidy(key.data.job)
            except (KeyboardInterrupt, StoppedError):
                number = signal.SIGKILL if number == signal.SIGTERM else signal.SIGTERM


def make_runs(jobs, slots=None, keep_embeddings=False, source=None):
    """Have the jobs' runs made; those that are finished stay, those that were begun go on. What only serves to continue
    a run is removed at its end, and so are its embeddings unless they are to be kept."""
    Pool(jobs, slots or [Slot()], source or Source(), keep_embeddings).work()
