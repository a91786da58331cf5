"""Saved runs: read, told apart by their settings, and made with Main.py where they are missing.

What the figures and Utils/Sweep.py share. A run is a folder that Main.py wrote; it is finished once its result.json is
there.
"""
import csv
import json
import shlex
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from tqdm import tqdm

from Params import parse
from Utils.Errors import InputError
from Utils.Resume import PLACE
from Utils.Signals import raised_signals
from Utils.Tables import ROOT
from Utils.TimeLogger import log

RESULT = ('dataset', 'config', 'best_test', 'best_val', 'seconds')  # what is read of a result.json


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    result: dict  # of result.json

    @cached_property
    def settings(self):
        return settings_of(self.result['config'])

    @property
    def seed(self):
        return self.result['config']['seed']

    @property
    def dataset(self):
        return self.result['dataset']

    @cached_property
    def epochs(self):
        """The rows of metrics.csv, one per evaluated epoch, by column."""
        return read_metrics(self.folder / 'metrics.csv')

    @property
    def n_epochs(self):
        """How many epochs were trained: the last one is always evaluated, and they count from 0."""
        return int(self.epochs[-1]['epoch']) + 1

    def test(self, chosen_by):
        """The test metrics at the epoch that the split 'val' or 'test' chose; None where it could not choose."""
        return self.result['best_test'] if chosen_by == 'test' else (self.result['best_val'] or {}).get('test')


@dataclass(frozen=True)
class Job:
    """A run to be made: its folder, and the flags of Main.py without --out."""

    folder: Path
    flags: tuple

    def command(self):
        return [str(ROOT / 'Main.py'), *self.flags, '--out', str(self.folder)]

    @property
    def settings(self):
        return told(asdict(parse(list(self.flags))))


def told(settings):
    """The settings that say what is computed, as JSON has them."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()
            if name not in PLACE}


def settings_of(config):
    """What a saved run computed; modalities that were not named are those of its data set. A flag that is younger than
    the run has its default."""
    settings = told({**asdict(parse([])), **config['settings']})
    return settings | {'modalities': settings['modalities'] or list(config['dataset']['modalities'])}


def read_json(path, names=()):
    """A file's dictionary; InputError where it is damaged or lacks one of the names."""
    try:
        content = json.loads(path.read_text())
        if lacking := [name for name in names if name not in content]:
            raise ValueError(lacking)
        return content
    except (ValueError, TypeError) as error:
        raise damaged(path) from error


def read_metrics(path):
    """The rows of a metrics.csv, of which there is at least one."""
    try:
        with open(path, newline='') as file:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        if not rows:
            raise ValueError('no row')
        return rows
    except (ValueError, TypeError, FileNotFoundError) as error:
        raise damaged(path) from error


def damaged(path):
    return InputError(f'{path} is damaged or not there: remove its folder and make the run again.')


def read_run(folder):
    """The finished run in a folder, or None."""
    path = Path(folder) / 'result.json'
    return Run(Path(folder), read_json(path, RESULT)) if path.is_file() else None


def find_runs(root, pattern='*'):
    """The finished runs in root/PATTERN/seed*, by folder."""
    found = (read_run(path) for path in sorted(Path(root).glob(f'{pattern}/seed*')))
    return [run for run in found if run]


def by_settings(runs):
    """Runs that differ in their seed alone, together: lists of runs, by seed, in the order of the first of each."""
    groups = {}
    for run in runs:
        groups.setdefault(json.dumps(run.settings | {'seed': None}, sort_keys=True), {})[run.seed] = run
    return [[run for _, run in sorted(group.items())] for group in groups.values()]


def differences(run, base):
    """name -> value of the run's settings that are not the base's, the seed left out."""
    return {name: value for name, value in run.settings.items() if value != base.settings.get(name) and name != 'seed'}


def check_same(job):
    """InputError where the job's folder holds a run with other settings, finished or not."""
    path = job.folder / 'config.json'
    if not path.is_file():
        return
    wanted, found = job.settings, settings_of(read_json(path))
    if wanted['modalities'] is None:  # all of the data set's
        found['modalities'] = read_json(path)['settings']['modalities']
    other = [f'--{name} {found.get(name)} in place of {value}' for name, value in wanted.items()
             if found.get(name) != value]
    if other:
        raise InputError(f'{job.folder} holds a run with {", ".join(other)}: move it away, or choose another folder.')


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


def describe(run):
    """The run's result in one line."""
    chosen = run.result['best_val']
    return (f'val Recall {chosen["val"]["recall"]:.4f}, test Recall {chosen["test"]["recall"]:.4f} at epoch '
            f'{chosen["epoch"]}' if chosen else f'best test Recall {run.test("test")["recall"]:.4f}'
            ) + f', {run.result["seconds"]:.0f} s'
