"""Features of items, from whatever file has them, in the order of the items: never a row on another item.

Rows go by ids where the file has them. A table without ids is taken where its order is beyond doubt, else refused:
--feature_ids says the id of each row, --feature_order which order it is.
"""
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from Datasets.interactions import whole_numbers
from Features.Arrays import Rows, read_array_file
from Features.RowIds import read_ids
from Features.Tables import read_keyed
from Formats.Words import listed, shown
from Utils.Errors import InputError
from Utils.TimeLogger import log
from Utils.Utils import FUSED

FILLED = {'mean': 'the mean of the others', 'zero': 'zeros'}
ORDERS = ('number', 'sorted', 'appearance')
WAY_OUT = ('give the features by id, or say the order: --feature_ids FILE (the id of each row, one a line), or '
           '--feature_order number (row n, from 0, is the item with the id n), sorted (by id, ascending) or appearance '
           '(as the items first appear in the interactions)')


def add_feature_flags(parser):
    parser.add_argument('--features', nargs='+', default=[], metavar='MODALITY=FILE',
                        help='a table with the id of each item (text with any separator, JSON, Parquet), .npz or .pt '
                             'with ids, a folder of one .npy per item, or an array without ids: .npy .npz .pt')
    parser.add_argument('--feature_ids', nargs='+', default=[], metavar='FILE',
                        help='for arrays without ids: the id of each row, one a line, or ids and row numbers; '
                             'MODALITY=FILE where they differ')
    parser.add_argument('--feature_order', choices=ORDERS,
                        help='of arrays without ids: row n, from 0, is the item with the id n (number), the n-th by id '
                             '(sorted), or the n-th to appear in the interactions (appearance)')
    parser.add_argument('--missing', choices=('mean', 'zero', 'drop', 'refuse'), default='refuse',
                        help='items and values without features: the mean of the others, zeros, or drop such items and '
                             'their interactions, before --kcore; default refuse')


@dataclass(frozen=True)
class Features:
    """A modality's features. rows: of each item of the interactions, as they are numbered there, the row, -1: none."""

    found: Rows
    rows: np.ndarray

    def incomplete(self):
        """Whether each item has no row, or one that lacks a value."""
        lacking = ~np.isfinite(self.found.table).all(1)
        return (self.rows < 0) | lacking[self.rows]


def feature_arguments(words, flag='--features'):
    """The words MODALITY=FILE -> modality: path."""
    files = {}
    for word in words:
        modality, _, path = word.partition('=')
        if not modality or not path or '.' in modality or '/' in modality or modality in (*files, FUSED):
            raise InputError(f'{flag} got {word!r}, expected MODALITY=FILE, each modality once, without dots, '
                             f'none called {FUSED}.')
        files[modality] = Path(path)
    return files


def ids_files(words, modalities):
    """What --feature_ids was given -> modality: path, for all modalities where it was one file."""
    if len(words) == 1 and words[0].partition('=')[0] not in modalities:
        return dict.fromkeys(modalities, Path(words[0]))
    files = feature_arguments(words, '--feature_ids')
    if unknown := [name for name in files if name not in modalities]:
        raise InputError(f'--feature_ids names {unknown[0]}, which --features does not '
                         f'({", ".join(modalities) or "it is not given"}).')
    return files


def read_features(files, item_ids, ids_words=(), order=None):
    """files: modality -> path; item_ids: of the interactions, in the order in which they appear -> modality: Features.

    ids_words, order: what --feature_ids and --feature_order were given.
    """
    if (ids_words or order) and not files:
        raise InputError('--feature_ids and --feature_order say how --features are to be read: give these, too.')
    if ids_words and order:
        raise InputError('Give --feature_ids or --feature_order: both say which item a row belongs to.')
    id_files, known, result = ids_files(ids_words, files), set(item_ids), {}
    used = False
    for modality, path in files.items():
        found = read_rows(path, known)
        has_ids = found.ids is not None
        if has_ids and modality in id_files and len(files) == 1:
            raise InputError(f'{path} has the ids of its rows: leave out --feature_ids.')
        if not has_ids and modality in id_files:
            found.ids = read_ids(id_files[modality], len(found.table), known)
            found.notes.append(f'ids from {id_files[modality]}')
        used |= not has_ids
        rows = (rows_in_order(found, item_ids, order) if found.ids is None else
                rows_by_id(found, item_ids))
        result[modality] = Features(found, rows)
        log(_told(modality, result[modality], len(item_ids)))
    if (ids_words or order) and not used:
        raise InputError('Every file of --features has the ids of its rows: leave out '
                         f'{"--feature_ids" if ids_words else "--feature_order"}.')
    return result


def read_rows(path, known):
    """Any file of features -> Rows of finite numbers and NaN."""
    if not path.exists():
        raise InputError(f'{path} is not there.')
    try:
        found = read_array_file(path, known) or read_keyed(path, known)
    except OSError as error:
        raise InputError(f'{path} cannot be read: {error.strerror or error}.') from error
    with np.errstate(over='ignore'):
        beyond = np.isinf(found.table.astype(np.float32, copy=False)).any(1)
    if beyond.any():
        row = int(beyond.argmax())
        item = '' if found.ids is None else f', item {shown(found.ids[row])},'
        raise InputError(f'{found.place(row)}{item} holds an infinite value or one beyond float32: mend it, or leave '
                         'it empty and choose --missing.')
    return found


def rows_by_id(found, item_ids):
    places = {}
    for row, name in enumerate(found.ids):
        if places.setdefault(name, row) != row:
            raise InputError(f'The item {shown(name)} has features twice: {found.place(places[name])} and '
                             f'{found.place(row)}. Leave one of them.')
    return np.array([places.get(name, -1) for name in item_ids])


def rows_in_order(found, item_ids, order):
    """The row of each item in a table that has no ids, in this order; None: in the one that is beyond doubt."""
    n_rows, numbers = len(found.table), [int(name) for name in item_ids] if whole_numbers(item_ids) else None
    if order is None:
        order = undoubted_order(found.path, n_rows, item_ids, numbers)
    if order == 'number':
        if numbers is None:
            example = next(name for name in item_ids if not whole_numbers([name]))
            raise InputError(f'--feature_order number needs ids that are whole numbers, but one is {shown(example)}.')
        found.notes.append('row n, from 0, is the item with the id n')
        return np.array([number if number < n_rows else -1 for number in numbers])
    if n_rows != len(item_ids):
        raise InputError(f'{found.path} has {n_rows:,} rows, but {len(item_ids):,} items appear in the interactions: '
                         f'for --feature_order {order} there must be as many. {_sentence(WAY_OUT)}')
    if order == 'appearance':
        found.notes.append('row n is the n-th item to appear in the interactions')
        return np.arange(n_rows)
    found.notes.append('row n is the n-th item by id')
    rows = np.empty(n_rows, np.int64)
    rows[_by_id(item_ids, numbers)] = np.arange(n_rows)
    return rows


def _by_id(item_ids, numbers):
    """The items in ascending order of their ids, as numbers or as text."""
    return sorted(range(len(item_ids)), key=(item_ids if numbers is None else numbers).__getitem__)


def undoubted_order(path, n_rows, item_ids, numbers):
    """One of ORDERS; InputError where another is possible, too.

    Whole numbers from 0 to the last row number the rows. Else, with as many rows as items, these may be in ascending
    order or in that of their appearance, which is beyond doubt where both are the same, unless a row's number may be
    meant all the same: ids from 1 are the next row's, or the row's of a table that begins with a padding.
    """
    if numbers is not None:
        low, high = min(numbers), max(numbers)
        if low == 0 and high == n_rows - 1:
            return 'number'
        if high <= n_rows:
            raise InputError(f'{path} has {n_rows:,} rows and no ids, and the items of the interactions have the ids '
                             f'{low:,} to {high:,}: whether row n, from 0, is the item n or another is not told. '
                             f'{_sentence(WAY_OUT)}')
    if n_rows == len(item_ids) and _by_id(item_ids, numbers) == list(range(n_rows)):
        return 'sorted'
    raise InputError(f'{path} has {n_rows:,} rows and no ids, and {len(item_ids):,} items appear in the interactions '
                     f'({listed([shown(name) for name in item_ids[:3]])}, ...): which row is whose is not told. '
                     f'{_sentence(WAY_OUT)}')


def _sentence(text):
    return f'{text[0].upper()}{text[1:]}.'


def _told(modality, features, n_items):
    """What is logged of a modality that was read."""
    found, rows = features.found, features.rows
    table = found.table
    used = np.zeros(len(table), bool)
    used[rows[rows >= 0]] = True
    unused = int((~used).sum())
    return '; '.join([f'modality {modality}: {found.path}', *found.notes, f'{table.shape[1]} columns',
                      f'features of {int((rows >= 0).sum()):,} of {n_items:,} items',
                      *([f'{unused:,} rows are of no item in the interactions'] if unused else [])])


def without_incomplete(data, features):
    """The interactions with items that have all features, as --missing drop wants them."""
    lacking = np.any([each.incomplete() for each in features.values()], axis=0)
    log(f'items without all features: {lacking.sum():,} of {len(lacking):,}, dropped with their interactions')
    left = data.keep(~lacking[data.items])
    if not len(left):
        raise InputError('No item of the interactions has all features: look at the ids of both.')
    return left


def filled(features, kept, item_ids, missing):
    """(features (I, width) of the kept items in float32, how many of them had none or lacked some values).

    kept: the numbers of the items in `item_ids`. What is missing is filled value by value: by the mean of its column
    over the kept items, or by zeros.
    """
    found, rows = features.found, features.rows[kept]
    without = rows < 0
    table = found.table[np.where(without, 0, rows)].astype(np.float32)
    table[without] = np.nan
    holes = np.isnan(table)
    lacking = holes.any(1)
    if not lacking.any():
        return table, 0
    if missing == 'refuse' or holes.all(0).any():
        raise _refusal(found, [item_ids[number] for number in kept], rows, holes)
    table[holes] = 0
    if missing == 'mean':
        means = table.sum(0, dtype=np.float64) / (~holes).sum(0)
        table[holes] = np.broadcast_to(means.astype(np.float32), table.shape)[holes]
    return table, int(lacking.sum())


def _refusal(found, names, rows, holes):
    """Why these items' features are not taken."""
    path, lacking, without = found.path, holes.any(1), (rows < 0) | holes.all(1)
    if without.all():
        row = f'; its first id is {shown(found.ids[0])}' if found.ids else ''
        return InputError(f'{path} has features of no item of the interactions (the first is {shown(names[0])}{row}): '
                          'look at the ids of both.')
    if without.any():
        return InputError(f'{path} has no features for {without.sum():,} of {len(names):,} items, the first of them '
                          f'{shown(names[without.argmax()])}: add them, or choose --missing mean, zero or drop.')
    if holes.all(0).any():
        return InputError(f'{path} has no value in its feature {int(holes.all(0).argmax())} (from 0) for any item: '
                          'leave it out.')
    item = int(lacking.argmax())
    return InputError(f'{path} lacks values for {lacking.sum():,} of {len(names):,} items, the first of them '
                      f'{shown(names[item])} ({found.place(rows[item])}, feature {int(holes[item].argmax())} from 0): '
                      'add them, or choose --missing mean, zero or drop.')
