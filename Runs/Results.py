"""What a run leaves in its folder, and the two protocols by which its best epoch is chosen."""
import csv
import json
import os
import platform
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from Runs.Aside import drop, put_aside, put_back
from Runs.Checkpoint import ALL, NEWEST, PREVIOUS, remove_checkpoints, save_checkpoint, sync_folder
from Runs.Identity import PARTS, data_folder, data_parts
from Runs.Lock import Lock
from Utils.Errors import InputError
from Utils.Metrics import NAMES, UserMetrics

NOT_TOLD = ('resume', 'overwrite', 'like')  # settings that are no part of what a run computes
REPOSITORY = Path(__file__).resolve().parent.parent


class Best:
    """The best epoch by test recall (the release's protocol) and by validation recall (the honest one).

    Of equal epochs the first counts. A split without withheld items never chooses an epoch.
    """

    def __init__(self):
        self.by_split = {'test': None, 'val': None}  # split that chooses -> {epoch, metrics of each split}

    def update(self, epoch, metrics):
        """metrics: split -> UserMetrics. Returns the splits for which this epoch is the best so far."""
        improved = []
        for split, best in self.by_split.items():
            recall = metrics[split].means()['recall']
            # any comparison with NaN, the recall of an empty split, is false
            if recall > (-1 if best is None else best['metrics'][split].means()['recall']):
                self.by_split[split] = {'epoch': epoch, 'metrics': metrics}
                improved.append(split)
        return improved

    def state(self):
        """For a checkpoint: what `restore` takes."""
        return {split: best and {'epoch': best['epoch'],
                                 'metrics': {name: users.state() for name, users in best['metrics'].items()}}
                for split, best in self.by_split.items()}

    def restore(self, state):
        self.by_split = {split: best and {'epoch': best['epoch'],
                                          'metrics': {name: UserMetrics.from_state(users)
                                                      for name, users in best['metrics'].items()}}
                         for split, best in state.items()}

    def summary(self):
        """The `best_test` and `best_val` entries of result.json; None where a split has no withheld item."""
        test, val = self.by_split['test'], self.by_split['val']
        return {'best_test': test and {'epoch': test['epoch'], **test['metrics']['test'].means()},
                'best_val': val and {'epoch': val['epoch'], 'val': val['metrics']['val'].means(),
                                     'test': val['metrics']['test'].means()}}

    def per_user(self):
        """Arrays for per_user.npz: user ids and their test metrics at both chosen epochs."""
        arrays = {}
        for split, best in self.by_split.items():
            if best:
                arrays['users'] = best['metrics']['test'].users
                arrays |= {f'best_{split}_{name}': getattr(best['metrics']['test'], name) for name in NAMES}
        return arrays


class RunFolder:
    """Writes a run's files; to be entered (`with`), since two runs at once in one folder are refused.

    `metrics.csv` grows by a row per evaluated epoch; each other file is written whole and then put in place of an
    earlier one.
    """

    FILES = ('config.json', 'metrics.csv', 'result.json', 'per_user.npz', 'embeddings.npz')
    ALL_FILES = (*FILES, *ALL)
    LOCK = '.lock'
    IN_USE = 'Another run is at work in'

    def __init__(self, path):
        self.path = Path(path)
        self.rows = []  # of metrics.csv
        self.begun = False  # whether what the folder holds is of this run
        self.made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]

    def __enter__(self):
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock = Lock(self.path / self.LOCK)
            taken = self.lock.take_when_left()
        except OSError as error:
            raise InputError(f'The run folder {self.path} cannot be made or written to ({error.strerror}): '
                             'choose another with --out.') from error
        if not taken:
            raise InputError(f'{self.IN_USE} {self.path} ({self.lock.holder()}): wait for its end, or choose another '
                             '--out.')
        put_back(self.path, self.ALL_FILES)
        for name in self.FILES:
            if (self.path / name).is_dir():
                self.__exit__()
                raise InputError(f'{self.path / name} is a folder where a file of the run belongs: choose another '
                                 '--out.')
        return self

    def __exit__(self, *_):
        """Leave nothing behind of a run that has not begun, and the earlier one where nothing has taken its place."""
        with suppress(InputError):  # what another process has taken over is left to it
            self.lock.check()
            put_back(self.path, self.ALL_FILES)
        self.lock.release()
        with suppress(OSError):  # not empty
            for folder in self.made:
                folder.rmdir()

    def is_finished(self):
        return (self.path / 'result.json').exists()

    def found(self):
        """The names of a run's files that are there."""
        return [name for name in (*self.FILES, NEWEST, PREVIOUS) if (self.path / name).exists()]

    def holds_a_run(self):
        return bool(self.found())

    def begin(self, config):
        """Put the files of an earlier run aside, so that none of them is taken for this one's, and write config.json.
        They come back when the folder is left, or entered again, before `replace_earlier`. Nothing is left to do for a
        run that has begun."""
        self.lock.check()
        if not self.begun:
            put_aside(self.path, self.ALL_FILES)
            self.rows, self.begun = [], True
            self.write_json('config.json', config)

    def replace_earlier(self):
        """To be called once something of this run is in its place: the earlier one goes."""
        drop(self.path)

    def save_checkpoint(self, state):
        save_checkpoint(self.path, state)

    def finish(self, keep_checkpoint):
        """To be called at the end of the run: of its checkpoints none stays, or the last one."""
        remove_checkpoints(self.path, (PREVIOUS,) if keep_checkpoint else ALL)

    def resume(self, config, rows):
        """Bring the files to where a checkpoint of this run stands: rows of metrics.csv after it are dropped."""
        for name in ('result.json', 'per_user.npz'):
            (self.path / name).unlink(missing_ok=True)
        self.write_json('config.json', config)
        self.rows, self.begun = [], True
        (self.path / 'metrics.csv').unlink(missing_ok=True)
        for row in rows:
            self.add_metrics(row)

    def write_json(self, name, content):
        self._replace(name, lambda path: path.write_text(json.dumps(content, indent=2) + '\n'))

    def write_arrays(self, name, arrays, compressed=True):
        save = np.savez_compressed if compressed else np.savez
        self._replace(name, lambda path: save(path, **arrays))

    def add_metrics(self, row):
        """Append one evaluated epoch to metrics.csv; the first row's keys are the columns."""
        if self.rows and row.keys() != self.rows[0].keys():
            raise InputError(f'An epoch has {", ".join(row)}, but metrics.csv the columns {", ".join(self.rows[0])}: a '
                             'model has to name the same loss terms and figures in every epoch.')
        self.rows.append(row)
        with self._writing('metrics.csv') as path, open(path, 'a', newline='') as file:
            writer = csv.DictWriter(file, list(self.rows[0]))
            if len(self.rows) == 1:
                writer.writeheader()
            writer.writerow(row)

    def _replace(self, name, write):
        stem, suffix = name.split('.')
        partial = self.path / f'{stem}.partial.{suffix}'
        try:
            with self._writing(name) as path:
                write(partial)
                with open(partial, 'rb') as file:
                    os.fsync(file.fileno())
                partial.replace(path)
                sync_folder(self.path)
        finally:
            partial.unlink(missing_ok=True)

    @contextmanager
    def _writing(self, name):
        """The file's path, for writing; InputError where that fails."""
        path = self.path / name
        self.lock.check()
        try:
            yield path
        except OSError as error:
            raise InputError(f'{path} cannot be written ({error.strerror or error}): free some space there and go on '
                             'with --resume.') from error


def run_config(settings, dataset, device, n_ranks=1):
    """What is needed to run this again: settings, command line, statistics and checksums of the data, versions, device,
    revision, and where there are several the number of processes."""
    told = {name: value for name, value in asdict(settings).items() if name not in NOT_TOLD}
    return {'settings': told, 'command': f'python Main.py {settings.line}'.rstrip(), 'seed': settings.seed,
            'dataset': dataset.statistics(), 'data_sha256': dataset.sha256(),
            PARTS: data_parts(dataset, data_folder(settings)), 'device': str(device),
            'threads': torch.get_num_threads(), **({'ranks': n_ranks} if n_ranks > 1 else {}), 'git': git_revision(),
            'versions': {'python': platform.python_version(),
                         **{name: version(name) for name in ('torch', 'numpy', 'scipy')}}}


def git_revision():
    """The revision of the code, `-dirty` after it where tracked files differ, other than results, figures and pages,
    which no run depends on; None where it is no git checkout."""
    def git(*words):
        done = subprocess.run(['git', *words], cwd=REPOSITORY, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    if not (REPOSITORY / '.git').exists():
        return None
    try:
        changed = git('status', '--porcelain', '--untracked-files=no', '--', '.', ':!results', ':!figures', ':!*.md')
        return git('rev-parse', 'HEAD') + ('-dirty' if changed else '')
    except (OSError, subprocess.CalledProcessError):
        return None
