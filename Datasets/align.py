"""Features from one copy of a data set to another that numbers its users and items otherwise: align.py FROM TO

FROM and TO are data set folders: a path, or the name of a folder below --data_dir. FROM has features, TO has the same
interactions under other numbers, maybe split otherwise. Which item is which is told by the interactions alone
(Datasets/refine.py), and checked by them: python Datasets/align.py Datasets/baby-mmrec Datasets/baby
"""
import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from DataHandler import (
    SPLITS,
    choose_modalities,
    feature_files,
    find_folder,
    interactions,
    load_ids,
    load_matrix,
    read_features,
)
from Datasets.refine import common_edges, match
from Features.Coherence import coherence
from Formats.Words import listed
from Params import Parser, number
from Utils.Command import run_command
from Utils.Errors import InputError
from Utils.TimeLogger import log

MOST_NAMED = 20  # items that the log names


def build_parser():
    parser = Parser(prog='align.py', description=__doc__.split('\n')[0], allow_abbrev=False)
    parser.add_argument('source', metavar='FROM', help='the copy with the features: its folder, or its name below '
                                                       '--data_dir')
    parser.add_argument('target', metavar='TO', help='the copy that gets them, likewise')
    parser.add_argument('--data_dir', default='Datasets', help='folder of the data sets that are given by name')
    parser.add_argument('--modalities', nargs='+', metavar='NAME', help='which to carry over; default: all of FROM')
    parser.add_argument('--splits', nargs='+', choices=tuple(SPLITS), default=tuple(SPLITS),
                        help='whose interactions, taken together, are the same in both; default: all three')
    parser.add_argument('--unmatched', type=number(int, 0), default=0, metavar='N',
                        help='carry on where up to N items of TO cannot be told apart; default 0')
    parser.add_argument('--missing', choices=('mean', 'zero'), default='mean',
                        help='what those items get: the mean of the others, or zeros; default mean')
    return parser


def folder_of(word, data_dir):
    path = Path(word)
    if path.name != word or word in ('.', '..'):  # a path
        if not path.is_dir():
            raise InputError(f'There is no data set folder {path}.')
        return path
    return find_folder(Path(data_dir), word)


def all_interactions(folder, splits):
    """The interactions of these splits together, as a CSR matrix of ones."""
    matrices = {split: load_matrix(folder, SPLITS[split]) for split in splits}
    if len({matrix.shape for matrix in matrices.values()}) > 1:
        raise InputError(f'The matrices in {folder} differ in shape: python Datasets/check.py tells more.')
    return interactions(sum(matrices.values()))


def sizes(matrix):
    """Users and items that have interactions, and their interactions."""
    return {'users': int((np.diff(matrix.indptr) > 0).sum()), 'items': len(np.unique(matrix.indices)),
            'interactions': matrix.nnz}


def told(counts):
    return ', '.join(f'{n:,} {what}' for what, n in counts.items())


def matched(folders, pair):
    """Matching of two CSR matrices of ones that hold the same interactions; InputError where they do not."""
    counts = [sizes(matrix) for matrix in pair]
    for folder, each in zip(folders, counts, strict=True):
        log(f'{folder}: {told(each)}')
    found = match(*pair)
    there, here, both = common_edges(*pair, found)
    if counts[0] == counts[1] and found.alike and there == here == both:
        return found
    apart = [f'{what} {counts[0][what]:,} and {counts[1][what]:,}' for what in counts[0]
             if counts[0][what] != counts[1][what]]
    differ = f'differ in size ({"; ".join(apart)})' if apart else 'are of one size, but not the same'
    as_far = (f' Between the {(found.users >= 0).sum():,} users and {(found.items >= 0).sum():,} items of TO whose '
              f'neighbourhood FROM has too, {both:,} interactions are in both, {there - both:,} in FROM only and '
              f'{here - both:,} in TO only.' if there + here else '')
    raise InputError(f'The interactions of {folders[0]} and {folders[1]} {differ}, so that items cannot be told by '
                     f'them.{as_far} Both must be the same data, filtered alike; --splits says which splits count.')


def accept_unmatched(folder, lacking, total, most, missing):
    """Tell of the items (numbers) of TO that are not told apart; InputError where there are more than allowed."""
    if not len(lacking):
        return
    names = load_ids(folder, 'items', total)
    named = listed([names[item] for item in lacking], MOST_NAMED)
    what = 'zeros' if missing == 'zero' else "the mean of the others' features"
    if len(lacking) > most or len(lacking) == total:
        raise InputError(f'{len(lacking):,} of {total:,} items of {folder} cannot be told apart, since interactions '
                         f'leave them alike or they have none: {named}.'
                         + (f' With --unmatched {len(lacking)} they would get {what}.' if len(lacking) < total else ''))
    log(f'{len(lacking):,} items are not told apart and get {what}: {named}')


def carried(path, n_items, places, missing):
    """The features of FROM in the order of TO's items; places: the row of each, or -1."""
    table = read_features(path, n_items)
    if table.dtype.kind == 'f' and not np.isfinite(table).all():
        raise InputError(f'{path} has NaN or infinite values: python Datasets/check.py tells more. Fill them first.')
    lacking = places < 0
    rows = table[np.where(lacking, 0, places)]
    if lacking.any():
        if missing == 'mean' and table.dtype.kind != 'f':  # of whole numbers the mean is none
            rows = rows.astype(np.float32)
        rows[lacking] = rows[~lacking].mean(0, dtype=np.float64) if missing == 'mean' else 0
    return rows


def put(folder, tables):
    """Write the tables, by modality, into the folder: all whole, none in the place of a file that is there."""
    partials = {folder / f'{name}_feat.npy': folder / f'.{name}_feat.partial.npy' for name in tables}
    try:
        for partial, table in zip(partials.values(), tables.values(), strict=True):
            with open(partial, 'wb') as file:
                np.save(file, table)
                file.flush()
                os.fsync(file.fileno())
        refuse_present(folder, tables)
        for path, partial in partials.items():
            partial.rename(path)
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)


def refuse_present(folder, names):
    """InputError where the folder has features of one of these modalities."""
    present = [path for name in names for path in (folder / f'{name}_feat.npy', folder / f'{name}_feat.npy.zip')
               if path.exists()]
    if present:
        raise InputError(f'{present[0]} is there already and is not overwritten: take it away, or choose others with '
                         '--modalities.')


def align(arguments):
    folders = source, target = [folder_of(word, arguments.data_dir) for word in (arguments.source, arguments.target)]
    files = feature_files(source)
    if not files:
        raise InputError(f'{source} has no *_feat.npy: there is nothing to carry over.')
    chosen = choose_modalities(source, files, arguments.modalities)
    refuse_present(target, chosen)
    pair = [all_interactions(folder, arguments.splits) for folder in folders]
    found = matched(folders, pair)
    total = len(found.items)
    log(f'told apart by {found.rounds} rounds of refinement: {(found.items >= 0).sum():,} of {total:,} items; every '
        'interaction between users and items told apart is in both')
    accept_unmatched(target, np.flatnonzero(found.items < 0), total, arguments.unmatched, arguments.missing)
    tables = {name: carried(files[name], pair[0].shape[1], found.items, arguments.missing) for name in chosen}
    put(target, tables)
    for name, table in tables.items():
        log(f'{target / f"{name}_feat.npy"}: {table.shape[0]:,} x {table.shape[1]:,} {table.dtype}; '
            f'{coherence(load_matrix(target, SPLITS["train"]), table)}')


def main(argv=None):
    return run_command('align.py', lambda: align(build_parser().parse_args(argv)))


if __name__ == '__main__':
    sys.exit(main())
