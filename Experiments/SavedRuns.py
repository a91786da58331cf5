"""Saved runs: read, and told apart by their settings. A run is a folder that Main.py wrote; it is finished once its
result.json is there."""
import csv
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from Baselines import MODELS
from Runs.Recorded import recorded_settings, settings_that_count
from Utils.Errors import InputError

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

    @cached_property
    def chose(self):
        """Whether this seed is one by whose validation a sweep chose the run's settings among several points: of that
        seed they are the best, so its figures are too high on average."""
        swept = self.folder.parent.parent / 'sweep.json'
        if self.folder.parent.name != 'chosen' or MODELS[self.settings['model']].closed_form or not swept.is_file():
            return False
        content = read_json(swept, ('chosen', 'finished'))
        return content['finished'] > 1 and self.seed in content['chosen']['seeds']

    def test(self, chosen_by):
        """The test metrics at the epoch that the split 'val' or 'test' chose; None where it could not choose."""
        return self.result['best_test'] if chosen_by == 'test' else (self.result['best_val'] or {}).get('test')


def told(settings):
    """Of settings by name those that say what is computed by their model, as JSON has them."""
    return {name: list(value) if isinstance(value, tuple) else value
            for name, value in settings_that_count(settings, MODELS).items()}


def settings_of(config):
    """What a saved run computed; modalities that were not named are those of its data set."""
    settings = told(recorded_settings(config))
    if settings.get('modalities', ()) is None:
        settings['modalities'] = list(config['dataset']['modalities'])
    return settings


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


def given_runs(paths):
    """The finished runs in these folders: a run's own, or one that holds those of several seeds."""
    found = []
    for path in paths:
        runs = [run for folder in (path, *sorted(path.glob('seed*'))) if (run := read_run(folder))]
        if not runs:
            raise InputError(f'{path} holds no finished run: python Main.py --out {path} makes one.')
        found += runs
    return found


def by_settings(runs):
    """Runs that differ in their seed alone, together: lists of runs, by seed, in the order of the first of each."""
    groups = {}
    for run in runs:
        groups.setdefault(json.dumps(run.settings | {'seed': None}, sort_keys=True), {})[run.seed] = run
    return [[run for _, run in sorted(group.items())] for group in groups.values()]


def differences(run, base):
    """name -> value of the run's settings that are not the base's, the seed left out."""
    return {name: value for name, value in run.settings.items() if value != base.settings.get(name) and name != 'seed'}


def describe(run):
    """The run's result in one line."""
    chosen = run.result['best_val']
    return (f'val Recall {chosen["val"]["recall"]:.4f}, test Recall {chosen["test"]["recall"]:.4f} at epoch '
            f'{chosen["epoch"]}' if chosen else f'best test Recall {run.test("test")["recall"]:.4f}'
            ) + f', {run.result["seconds"]:.0f} s'
