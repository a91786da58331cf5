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
import pandas as pd
import scipy.sparse as sp

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from DataHandler import SPLITS, check_table, interactions as as_csr, is_one_name, load_array
from Datasets.check import split_facts, table_one
from Datasets.folders import new_folder, save_dataset, sha256
from Datasets.interactions import at_least, in_two_splits, k_core, once_each, renumbered, split, whole_numbers
from Datasets.raw import read_interactions
from Datasets.sources import add_flags, reading_of, source_files
from Params import Parser, number
from Utils.Command import run_command
from Utils.Errors import InputError
from Utils.TimeLogger import log
from Utils.Utils import FUSED


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
    parser.add_argument('--features', nargs='+', default=[], metavar='MODALITY=FILE',
                        help='.npy: row n is the item with id n, where all ids are whole numbers, else the n-th item '
                             'to appear in FILE; .npz: arrays ids and features, or one array per item id; a '
                             'folder: one .npy per item, named by its id; .csv or .tsv: an id and its numbers per '
                             'row, below a header')
    parser.add_argument('--missing', choices=('mean', 'zero', 'refuse'), default='refuse',
                        help='items without features; default refuse')
    parser.add_argument('--seed', type=number(int, 0), default=421, help='of the random split')
    return parser


def read_feature_table(path, item_ids):
    """A feature file -> (table (n, width), row in it of each item or -1), item_ids being all of the raw file."""
    try:
        if path.is_dir():
            files = sorted(path.glob('*.npy'))
            ids, table = [file.stem for file in files], np.stack([load_array(file).reshape(-1) for file in files])
        elif path.suffix == '.npy':
            ids, table = None, load_array(path)
        elif path.suffix == '.npz':
            with open(path, 'rb') as file, np.load(file, allow_pickle=False) as archive:
                if set(archive.files) == {'ids', 'features'}:
                    ids, table = archive['ids'].astype(str).reshape(-1).tolist(), archive['features']
                else:
                    ids, table = archive.files, np.stack([archive[name] for name in archive.files])
        elif {'.csv', '.tsv'} & set(path.suffixes):
            frame = pd.read_csv(path, sep='\t' if '.tsv' in path.suffixes else ',', dtype={0: str}, index_col=False,
                                keep_default_na=False, na_values={})
            ids, table = frame.iloc[:, 0].astype(str).tolist(), frame.iloc[:, 1:].to_numpy(np.float64)
        else:
            raise InputError(f'{path}: features are read from .npy, .npz, .csv and .tsv files, and from folders.')
    except InputError:
        raise
    except OSError as error:
        raise InputError(f'{path} cannot be read: {error.strerror or error}.') from error
    except Exception as error:  # numpy, zip and pandas each have several kinds of failure for a damaged file
        raise InputError(f'{path} is not a readable table of features ({type(error).__name__}: '
                         f'{str(error).strip()[:80]}).') from error
    check_table(path, table)
    if 0 in table.shape:
        raise InputError(f'{path} holds an empty table, {table.shape[0]} x {table.shape[1]}.')
    return table, rows_in_order(path, table, item_ids) if ids is None else rows_by_id(path, table, ids, item_ids)


def rows_by_id(path, table, ids, item_ids):
    places = {name: row for row, name in enumerate(ids)}
    if len(places) < len(ids) or len(ids) != len(table):
        raise InputError(f'{path} names an item twice, or holds {len(ids)} ids for {len(table)} rows.')
    return np.array([places.get(name, -1) for name in item_ids])


def rows_in_order(path, table, item_ids):
    if whole_numbers(item_ids):
        rows = np.array([int(name) for name in item_ids])
        if rows.min() == 1 and rows.max() == len(table):
            raise InputError(f'{path} has {len(table)} rows and the items have the ids 1 to {len(table)}, but row n is '
                             'the item with id n, from 0: give the features by item id, as .npz or .csv.')
        log(f'{path}: row n is the item with the id n')
        return np.where(rows < len(table), rows, -1)
    if len(table) != len(item_ids):
        raise InputError(f'{path} has {len(table)} rows, but {len(item_ids)} items appear in the interactions: '
                         'give the features by item id, as .npz or .csv.')
    log(f'{path}: row n is the n-th item to appear in the interactions')
    return np.arange(len(item_ids))


def features_of(path, all_ids, kept, missing):
    """The features (I, width) of the items that are kept, float32; the missing ones are filled as asked."""
    table, rows = read_feature_table(path, all_ids)
    rows = rows[kept]
    lacking = rows < 0
    with np.errstate(over='ignore'):  # values beyond float32 become infinite and are told of
        features = table[np.where(lacking, 0, rows)].astype(np.float32)
    if not np.isfinite(features[~lacking]).all():
        raise InputError(f'{path} has NaN or infinite values, or values beyond float32: fill or drop them.')
    if lacking.any():
        if missing == 'refuse' or lacking.all():
            raise InputError(f'{path} has no features for {lacking.sum():,} of {len(kept):,} items, the first of them '
                             f'{all_ids[kept[lacking.argmax()]]}: add them, or choose --missing mean or zero.')
        features[lacking] = features[~lacking].mean(0, dtype=np.float64) if missing == 'mean' else 0
    return features, int(lacking.sum())


def feature_arguments(given):
    """The words MODALITY=FILE -> modality: path."""
    files = {}
    for word in given:
        modality, _, path = word.partition('=')
        if not modality or not path or '.' in modality or '/' in modality or modality in (*files, FUSED):
            raise InputError(f'--features got {word!r}, expected MODALITY=FILE, each modality once, without dots, '
                             f'none called {FUSED}.')
        files[modality] = Path(path)
    return files


def filtered(data, min_rating, kcore):
    """The interactions that are left, and how many there were after each step."""
    steps = {'read': len(data)}
    if min_rating is not None:
        data = at_least(data, min_rating)
        steps[f'rated {min_rating:g} or higher'] = len(data)
    if len(data):
        if data.labels is not None and (twice := in_two_splits(data)):
            log(f'WARNING: {twice:,} pairs of user and item are in more than one split: of each the earliest counts')
        data = once_each(data)
        steps['user and item once each'] = len(data)
    if kcore:
        data = k_core(data, kcore)
        steps[f'{kcore}-core'] = len(data)
    return data, steps


def matrices(data, parts):
    """The CSR matrices of TRAIN, VAL and TEST by the name of the split."""
    shape = len(data.user_ids), len(data.item_ids)
    chosen = {name: parts == part for part, name in enumerate(SPLITS)}
    return {name: as_csr(sp.coo_matrix((np.ones(np.count_nonzero(mask), np.float32),
                                        (data.users[mask], data.items[mask])), shape))
            for name, mask in chosen.items()}


def write(folder, splits, features, data, facts):
    """The whole folder; facts: what dataset.json says besides the checksums."""
    with new_folder(folder) as partial:
        save_dataset(partial, {stem: splits[name] for name, stem in SPLITS.items()}, features)
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
    data, steps = filtered(read_interactions(source, reading_of(arguments, source)), arguments.min_rating,
                           arguments.kcore)
    all_items = data.item_ids
    for step, n in steps.items():
        log(f'interactions, {step}: {n:,}')
    if not len(data):
        named = ', '.join(map(str, source.values())) if isinstance(source, dict) else source
        raise InputError(f'No interaction of {named} is left: lower --min_rating or --kcore.')
    data, kept = renumbered(data)
    how = arguments.split or ('random' if data.labels is None else 'label')
    splits = matrices(data, split(data, how, arguments.ratio, np.random.default_rng(arguments.seed)))
    for name in ('train', 'test'):
        if not splits[name].nnz:
            raise InputError(f'No interaction falls into the {name} split: choose another --split or --ratio'
                             + (' (random withholds none of a user with fewer than five at 8 1 1; leave-one-out one of '
                                'three).' if how == 'random' else '.'))
    features, filled = {}, {}
    for modality, path in files.items():
        features[modality], filled[modality] = features_of(path, all_items, kept, arguments.missing)
        log(f'modality {modality}: {features[modality].shape[1]} columns'
            + (f', {filled[modality]:,} items without features: {arguments.missing}' if filled[modality] else ''))

    table = table_one(splits)
    sources = ({f'{tuple(SPLITS)[part]} interactions': path for part, path in source.items()}
               if isinstance(source, dict) else {'interactions': source})
    write(folder, splits, features, data, {
        'name': name, 'command': command, 'split': how, 'seed': arguments.seed, 'interactions': steps,
        'statistics': table | split_facts(splits), 'items_without_features': filled,
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
