"""What is in a data set folder, and whether it is what it claims to be: python Datasets/check.py NAME [--data_dir DIR]

Prints the figures of the paper's Table I for the folder, what a careful reader wants to know of its splits and
features, whose interactions and files they are (checksums.json knows the published ones), what is not read and which
modalities of the paper lack. Exit code 1 if something is wrong.
"""
import os
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from DataHandler import (
    SPLITS,
    check_shapes,
    feature_files,
    find_folder,
    interactions,
    load_ids,
    matrix_file,
    read_features,
    read_matrix,
    split_statistics,
)
from Datasets.files import report_files
from Datasets.generate import ensure_generated
from Features.Coherence import coherence
from Params import Parser
from Utils.Command import run_command
from Utils.Errors import InputError
from Utils.Utils import FUSED

RED, YELLOW, PLAIN = '\033[31m', '\033[33m', '\033[0m'


def coloured(text, colour):
    return f'{colour}{text}{PLAIN}' if sys.stdout.isatty() and 'NO_COLOR' not in os.environ else text


class Report:
    """Lines for the reader; those that tell of something wrong, or doubtful, are counted and coloured on a terminal."""

    def __init__(self):
        self.lines = []
        self.wrong = self.warnings = 0

    def say(self, text):
        self.lines.append(text)

    def warn(self, text):
        self.warnings += 1
        self.say(coloured(f'warning: {text}', YELLOW))

    def error(self, text):
        self.wrong += 1
        self.say(coloured(f'WRONG: {text}', RED))

    @contextmanager
    def told(self):
        """What the suite would refuse inside is told of as wrong."""
        try:
            yield
        except InputError as error:
            self.error(str(error))

    def count(self, what, n, total, wrong=False):
        """A count with its share of a total, told of as wrong if it must be 0 and is not."""
        text = f'{what}: {n:,}' + (f' of {total:,} ({100 * n / total:.1f} %)' if n else '')
        (self.error if wrong and n else self.say)(text)


def table_one(splits):
    """The figures of Table I: `split_statistics`, and the interactions of all splits together."""
    return split_statistics(splits) | {'together': sum(matrix.nnz for matrix in splits.values())}


def split_facts(splits):
    """Facts about three CSR matrices of ones (U, I), by name."""
    train, test = splits['train'], splits['test']
    per_user, popularity = np.diff(train.indptr), np.bincount(train.indices, minlength=train.shape[1])
    test_items = np.diff(test.indptr)
    pairs = (('train', 'val'), ('train', 'test'), ('val', 'test'))
    return {
        'overlap': {f'{a} and {b}': int(splits[a].multiply(splits[b]).nnz) for a, b in pairs},
        'users_without_training': int((per_user == 0).sum()),
        'items_without_training': int((popularity == 0).sum()),
        'test_interactions_with_unseen_items': int((popularity[test.indices] == 0).sum()),
        'users_with_test_items': int((test_items > 0).sum()),
        'most_test_items_of_a_user': int(test_items.max()),
        'one_test_item_for_all': bool(test.nnz and test_items.max() == 1)}


def report_splits(report, raw):
    """raw: the matrices as stored, by split, of one shape."""
    splits = {split: interactions(matrix) for split, matrix in raw.items()}
    table, facts = table_one(splits), split_facts(splits)
    for label, key in (('users', 'users'), ('items', 'items'), ('training interactions', 'train'),
                       ('validation interactions', 'val'), ('test interactions', 'test'), ('together', 'together')):
        report.say(f'{label}: {table[key]:,}')
    report.say(f'sparsity: {table["sparsity_percent"]} %')
    for split in SPLITS:
        if table[split] == 0:
            (report.say if split == 'val' else report.error)(f'the {split} split holds no interaction')
        stored = raw[split].nnz
        if stored > table[split]:
            report.count(f'{SPLITS[split]}: entries stored more than once (each counts as one)',
                         stored - table[split], stored)
    for pair, n in facts['overlap'].items():
        report.count(f'interactions in both {pair}', n, table[pair.split()[-1]], wrong=True)
    report.count('users without training interactions', facts['users_without_training'], table['users'])
    report.count('items without training interactions', facts['items_without_training'], table['items'])
    report.count('test interactions with an item unseen in training', facts['test_interactions_with_unseen_items'],
                 table['test'])
    report.say(f'users with test items: {facts["users_with_test_items"]:,}, of '
               f'{facts["most_test_items_of_a_user"]} test items at most'
               + (': one for all, so Precision@k is Recall@k / k' if facts['one_test_item_for_all'] else ''))


def report_features(report, files, n_items, train):
    """train: the training interactions as a CSR matrix of ones, or None where they cannot be read."""
    for name, path in files.items():
        with report.told():
            table, finite = report_table(report, name, path, n_items)
            if finite and train is not None:
                report_coherence(report, name, train, table)
    if not files:
        report.say('modalities: none (models that need no features only)')


def report_table(report, name, path, n_items):
    table = read_features(path, n_items)
    report.say(f'modality {name}: {table.shape[1]} columns, {table.dtype}, {path.stat().st_size / 1e6:,.1f} MB')
    with np.errstate(over='ignore'):  # the suite computes in float32
        finite = np.isfinite(table.astype(np.float32)).all(1)
    report.count(f'modality {name}: rows with NaN, infinite values or values beyond float32', int((~finite).sum()),
                 n_items, wrong=True)
    constant = int((table == table[:, :1]).all(1).sum())
    if table.shape[1] > 1 and constant:
        report.count(f'modality {name}: rows of one value throughout', constant, n_items)
    return table, bool(finite.all())


def report_coherence(report, name, train, table):
    """Whether the rows seem to be those of the items: a warning at most, since features may be of no use to tell."""
    told = coherence(train, table)
    (report.warn if told.doubtful else report.say)(f'modality {name}: {told}')


def check(folder):
    """Everything told of a folder, as a Report."""
    report, raw, files = Report(), {}, {}
    report.say(f'{folder}')
    for split, stem in SPLITS.items():
        with report.told():
            raw[split] = read_matrix(matrix_file(folder, stem))
    with report.told():
        check_shapes(folder, raw)
        if len(raw) == len(SPLITS):
            report_splits(report, raw)
    with report.told():
        files = feature_files(folder)
    if raw:
        shape = next(iter(raw.values())).shape
        report_features(report, files, shape[1], interactions(raw['train']) if 'train' in raw else None)
        for side, size in zip(('users', 'items'), shape, strict=True):
            with report.told():
                load_ids(folder, side, size)
    if FUSED in files:
        report.error(f'a modality cannot be called {FUSED}: rename its file')
    report_files(report, folder, raw, files)
    report.say((f'{report.wrong} wrong' if report.wrong else 'nothing wrong')
               + (f', {report.warnings} to be looked at (warning)' if report.warnings else ''))
    return report


def start(argv):
    parser = Parser(prog='check.py', description=__doc__.split('\n')[0], allow_abbrev=False)
    parser.add_argument('name', help='the data set: a folder below --data_dir')
    parser.add_argument('--data_dir', default='Datasets', help='folder that holds the data set folders')
    arguments = parser.parse_args(argv)
    ensure_generated(arguments.data_dir, arguments.name)
    report = check(find_folder(Path(arguments.data_dir), arguments.name))
    print('\n'.join(report.lines))
    return 1 if report.wrong else 0


def main(argv=None):
    return run_command('check.py', lambda: start(argv))


if __name__ == '__main__':
    sys.exit(main())
