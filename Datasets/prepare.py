"""Raw interactions and features -> a data set folder that the suite reads: python Datasets/prepare.py FILE --name NAME

FILE: delimited text with a header or columns by number, MMRec's .inter (its x_label split is kept), RecBole's .inter,
JSON, Parquet or LightGCN lists, plain or compressed; or such a file per split. Written: trnMat.npz, valMat.npz,
tstMat.npz, a feature file per modality, users.csv and items.csv with the original ids in the order of rows and columns,
and dataset.json with the figures, the command and checksums.
"""
import csv
import json
import shlex
import sys
from pathlib import Path

import numpy as np
import scipy.sparse as sp

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from DataHandler import SPLITS, interactions as as_csr, is_one_name
from Datasets.check import split_facts, table_one
from Datasets.folders import new_folder, save_dataset, sha256
from Datasets.interactions import at_least, in_two_splits, k_core, once_each, renumbered, split
from Datasets.raw import read_interactions
from Datasets.sources import add_flags, reading_of, source_files
from Features.Coherence import coherence
from Features.Items import (
    FILLED,
    add_feature_flags,
    feature_arguments,
    filled,
    read_features,
    without_incomplete,
)
from Params import Parser, number
from Utils.Command import run_command
from Utils.Errors import InputError
from Utils.TimeLogger import log


def build_parser():
    parser = Parser(prog='prepare.py', description=__doc__.split('\n')[0], allow_abbrev=False)
    add_flags(parser)
    parser.add_argument('--name', required=True, help='name of the data set: the folder to make below --data_dir')
    parser.add_argument('--data_dir', default='Datasets', help='folder that holds the data set folders')
    parser.add_argument('--min_rating', type=number(float), metavar='X', help='drop interactions rated lower')
    parser.add_argument('--kcore', type=number(int, 1), metavar='K',
                        help='drop users and items with fewer than K interactions, until none is left')
    parser.add_argument('--split', choices=('random', 'leave-one-out', 'time', 'label'),
                        help='default: label where there is --label or an x_label, else random')
    parser.add_argument('--ratio', type=number(float, 0), nargs=3, default=(8, 1, 1),
                        metavar=('TRAIN', 'VAL', 'TEST'), help='of --split random and time; default 8 1 1')
    add_feature_flags(parser)
    parser.add_argument('--seed', type=number(int, 0), default=421, help='of the random split')
    return parser


def gathered(arguments, source, files):
    """The interactions that are left, the features by modality, the ids of all items of the source, which they go by,
    and how many interactions there were after each step."""
    data = read_interactions(source, reading_of(arguments, source))
    all_items, steps = data.item_ids, {'read': len(data)}
    found = read_features(files, all_items, arguments.feature_ids, arguments.feature_order)
    if found and arguments.missing == 'drop':
        data = without_incomplete(data, found)
        steps['of items with all features'] = len(data)
    if arguments.min_rating is not None:
        data = at_least(data, arguments.min_rating)
        steps[f'rated {arguments.min_rating:g} or higher'] = len(data)
    if len(data):
        if data.labels is not None and (twice := in_two_splits(data)):
            log(f'WARNING: {twice:,} pairs of user and item are in more than one split: of each the earliest counts')
        data = once_each(data)
        steps['user and item once each'] = len(data)
    if arguments.kcore:
        data = k_core(data, arguments.kcore)
        steps[f'{arguments.kcore}-core'] = len(data)
    return data, found, all_items, steps


def matrices(data, parts):
    """The CSR matrices of TRAIN, VAL and TEST by the name of the split."""
    shape = len(data.user_ids), len(data.item_ids)
    chosen = {name: parts == part for part, name in enumerate(SPLITS)}
    return {name: as_csr(sp.coo_matrix((np.ones(np.count_nonzero(mask), np.float32),
                                        (data.users[mask], data.items[mask])), shape))
            for name, mask in chosen.items()}


def write(folder, splits, tables, data, facts):
    """The whole folder; facts: what dataset.json says besides the checksums."""
    with new_folder(folder) as partial:
        save_dataset(partial, {stem: splits[name] for name, stem in SPLITS.items()}, tables)
        for side, ids in (('users', data.user_ids), ('items', data.item_ids)):
            with open(partial / f'{side}.csv', 'w', newline='', encoding='utf-8') as file:
                csv.writer(file).writerows([('index', 'id'), *enumerate(ids)])
        facts = facts | {'sha256': {path.name: sha256(path) for path in sorted(partial.iterdir())}}
        (partial / 'dataset.json').write_text(json.dumps(facts, indent=2) + '\n')


def prepare(arguments, command):
    name, source = arguments.name, source_files(arguments)
    folder = Path(arguments.data_dir) / name
    if not is_one_name(name):
        raise InputError(f'--name got {name!r}, expected the name of one folder.')
    if folder.exists():
        raise InputError(f'{folder} is there already: choose another --name, or remove it.')
    if arguments.ratio[0] == 0:
        raise InputError(f'--ratio got {arguments.ratio}, expected a positive part for training.')
    files = feature_arguments(arguments.features)
    data, found, all_items, steps = gathered(arguments, source, files)
    for step, n in steps.items():
        log(f'interactions, {step}: {n:,}')
    if not len(data):
        named = ', '.join(map(str, source.values())) if isinstance(source, dict) else source
        raise InputError(f'No interaction of {named} is left: lower --min_rating or --kcore.')
    data, kept = renumbered(data)
    how = arguments.split or ('random' if data.labels is None else 'label')
    splits = matrices(data, split(data, how, arguments.ratio, np.random.default_rng(arguments.seed)))
    for part in ('train', 'test'):
        if not splits[part].nnz:
            raise InputError(f'No interaction falls into the {part} split: choose another --split or --ratio'
                             + (' (random withholds none of a user with fewer than five at 8 1 1; leave-one-out one of '
                                'three).' if how == 'random' else '.'))
    tables, lacking = {}, {}
    for modality, each in found.items():
        tables[modality], lacking[modality] = filled(each, kept, all_items, arguments.missing)
        if lacking[modality]:
            log(f'modality {modality}: {lacking[modality]:,} items lack features or some of their values: filled with '
                f'{FILLED[arguments.missing]}')
        log(f'modality {modality}: {coherence(splits["train"], tables[modality])}')

    table = table_one(splits)
    sources = ({f'{tuple(SPLITS)[part]} interactions': path for part, path in source.items()}
               if isinstance(source, dict) else {'interactions': source})
    write(folder, splits, tables, data, {
        'name': name, 'command': command, 'split': how, 'seed': arguments.seed, 'interactions': steps,
        'statistics': table | split_facts(splits), 'items_without_features': lacking,
        'sources': {what: {'file': path.name, **({} if path.is_dir() else {'sha256': sha256(path)})}
                    for what, path in (sources | files).items()}})
    log(f'{folder}: {table["users"]:,} users, {table["items"]:,} items, interactions {table["train"]:,} train / '
        f'{table["val"]:,} val / {table["test"]:,} test (split: {how})')


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    return run_command('prepare.py', lambda: prepare(build_parser().parse_args(argv),
                                                     shlex.join(['python', 'Datasets/prepare.py', *argv])))


if __name__ == '__main__':
    sys.exit(main())
