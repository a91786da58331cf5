"""Runs that are wanted: told from what their folders hold, and made with Main.py where they are missing."""
import shlex
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from Baselines import MODELS
from Experiments.SavedRuns import describe, read_json, read_run, settings_of, told
from Experiments.Tables import ROOT
from Runs.Recorded import read_line
from Runs.Signals import raised_signals
from Utils.Errors import InputError
from Utils.TimeLogger import log


@dataclass(frozen=True)
class Job:
    """A run to be made: its folder, and the flags of Main.py without --out."""

    folder: Path
    flags: tuple

    def command(self):
        return [str(ROOT / 'Main.py'), *self.flags, '--out', str(self.folder)]

    @property
    def settings(self):
        return told(asdict(read_line(list(self.flags), MODELS)[0]))


def check_same(job):
    """InputError where the job's folder holds a run with other settings, finished or not."""
    path = job.folder / 'config.json'
    if not path.is_file():
        return
    wanted, found = job.settings, settings_of(read_json(path))
    if wanted.get('modalities', ()) is None:  # all of the data set's
        found['modalities'] = read_json(path)['settings']['modalities']
    other = [f'--{name} {found.get(name)} in place of {value}' for name, value in wanted.items()
             if found.get(name) != value]
    if other:
        raise InputError(f'{job.folder} holds a run with {", ".join(other)}: move it away, or choose another '
                         'folder (--out of a sweep, --root of a figure).')


def missing(jobs):
    """The jobs whose run is not finished; InputError where a folder holds another run."""
    for job in jobs:
        check_same(job)
    return [job for job in jobs if not (job.folder / 'result.json').is_file()]


def make_runs(jobs, keep_embeddings=False, after_each=lambda: None):
    """Make the jobs' runs one after the other, those that are done left out and those that were begun continued.

    A bar over all shows which runs and at which epoch it is. What only serves to continue a run is removed at its end,
    and so are its embeddings unless they are to be kept. after_each: called after each run that is made.
    """
    left = missing(jobs)
    bar = tqdm(left, 'runs', len(jobs), initial=len(jobs) - len(left), disable=None, dynamic_ncols=True)
    with raised_signals():  # so that the run at work is stopped, too
        for job in bar:
            run_job(job, lambda line: bar.set_postfix_str(line, refresh=True))
            for pattern in ('checkpoint*', *(() if keep_embeddings else ('embeddings.npz',))):
                for path in job.folder.glob(pattern):
                    path.unlink()
            log(f'{job.folder}: {describe(read_run(job.folder))}')
            after_each()


def run_job(job, show):
    """Main.py in a process of its own, to its end. InputError with its last words if it fails.

    It is in a process group of its own, so that Ctrl-C reaches it once, from here, and it can save where it is.
    """
    process = subprocess.Popen([sys.executable, *job.command(), '--resume'], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors='replace', start_new_session=True)
    last = ''
    try:
        for line in process.stdout:
            last = line.strip() or last
            if '  epoch ' in line:
                show(f'{job.folder.parent.name}/{job.folder.name}, epoch {line.split("  epoch ")[1].split()[0]}')
        code = process.wait()
    except BaseException:
        stop(process)
        raise
    finally:
        process.stdout.close()
    if code or not (job.folder / 'result.json').is_file():
        raise InputError(f'The run {job.folder} failed: {last or f"exit code {code}"} To see all that it says: '
                         f'python {shlex.join(job.command())} --resume')


def stop(process):
    """Let it save where it is and end; a second Ctrl-C lets it end at once."""
    process.send_signal(signal.SIGINT)
    try:
        process.communicate()  # reads on, so that it can still say something
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.communicate()
