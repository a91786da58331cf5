"""Runs that are wanted: told from what their folders hold."""
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from Baselines import MODELS
from Experiments.SavedRuns import read_json, settings_of, told
from Experiments.Tables import ROOT
from Runs.Recorded import read_line
from Utils.Errors import InputError


def settings_by(flags, combined=True):
    """The settings of a command line, those of its --like among them; InputError where Main.py would not take it."""
    return read_line(list(flags), MODELS, combined)[0]


@dataclass(frozen=True)
class Job:
    """A run to be made: its folder, and the flags of Main.py without --out."""

    folder: Path
    flags: tuple

    def command(self):
        return [str(ROOT / 'Main.py'), *self.flags, '--out', str(self.folder)]

    @cached_property
    def settings(self):
        return told(asdict(settings_by(self.flags)))

    @property
    def name(self):
        return f'{self.folder.parent.name}/{self.folder.name}'

    def finished(self):
        return (self.folder / 'result.json').is_file()

    def mark(self, kind):
        """A file beside the run's folder, which says something of the run to everybody who is to make it."""
        return self.folder.with_name(f'.{self.folder.name}.{kind}')


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
    return [job for job in jobs if not job.finished()]
