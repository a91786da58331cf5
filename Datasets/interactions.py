"""Raw interactions: read from CSV, MMRec or RecBole files, filtered, and split into training, validation and test."""
import csv
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd

from Utils.Errors import InputError

CHUNK = 10**6  # rows read at a time
KNOWN_COLUMNS = {  # the names that each part goes by, tried in this order
    'user': ('user', 'user_id', 'userid', 'uid', 'reviewerid'),
    'item': ('item', 'item_id', 'itemid', 'iid', 'parent_asin', 'asin', 'movieid'),
    'rating': ('rating', 'overall', 'stars', 'score'),
    'time': ('timestamp', 'time', 'unixreviewtime', 'date', 'datetime'),
    'label': ('x_label',)}
UNWANTED = 'none'  # in the place of a column's name: the part is not read
TRAIN, VAL, TEST = range(3)


@dataclass(frozen=True)
class Interactions:
    """One entry per interaction; users and items as numbers that count through `user_ids` and `item_ids`."""

    users: np.ndarray
    items: np.ndarray
    ratings: np.ndarray | None
    times: np.ndarray | None
    labels: np.ndarray | None
    user_ids: list
    item_ids: list

    def __len__(self):
        return len(self.users)

    def keep(self, chosen):
        """The interactions that an index or mask chooses; the ids stay."""
        return replace(self, **{name: column[chosen] for name, column in self.columns().items()})

    def columns(self):
        columns = {field.name: getattr(self, field.name) for field in fields(self)[:5]}
        return {name: column for name, column in columns.items() if column is not None}


def read_interactions(path, layout=None, named=None):
    """A file -> Interactions, in the file's order; ids are numbered in the order in which they appear.

    layout: csv (any separator), inter (MMRec) or atomic (RecBole, a typed header); None: by the header. named: part
    (a key of KNOWN_COLUMNS) -> column; where columns are named by number, from 1, the file has no header.
    """
    try:
        header, separator = _header(path)
        columns, has_header = _columns(path, header, layout, named or {})
        return _read(path, separator, columns, has_header)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f'{path} cannot be read: {error.strerror or error}.') from error
    except pd.errors.EmptyDataError as error:
        raise InputError(f'{path} holds no interaction.') from error
    except UnicodeDecodeError as error:
        raise InputError(f'{path} is not a text file in UTF-8: convert it.') from error
    except MemoryError:
        raise
    except Exception as error:  # pandas and every kind of compression have their own failures for a damaged file
        raise InputError(f'{path} cannot be read as a table: {str(error).strip()[:200]}') from error


def _header(path):
    if not Path(path).is_file():
        raise InputError(f'{path} is no file: a pipe cannot be read twice, so save its content first.' if
                         Path(path).exists() else f'{path} is not there.')
    from pandas.io.common import get_handle  # which opens what pandas.read_csv opens, compressed files too
    with get_handle(path, 'r', compression='infer', encoding='utf-8') as opened:
        line = opened.handle.readline().strip('\r\n\ufeff')
    if not line:
        raise InputError(f'{path} is empty or begins with an empty line: a header or a first row was expected.')
    separator = '\t' if '\t' in line else max(',;|', key=line.count)
    return [cell.strip() for cell in next(csv.reader([line], delimiter=separator))], separator


def _columns(path, header, layout, named):
    """Part -> position of its column, for the parts that there are; and whether the first line is a header."""
    if layout is None:
        layout = 'atomic' if all(':' in cell for cell in header) else 'inter' if 'x_label' in header else 'csv'
    if layout == 'atomic':
        header = [cell.partition(':')[0] for cell in header]
    if layout == 'inter' and 'x_label' not in header:
        raise InputError(f'{path} has no column x_label, which MMRec files have: leave out --format or use csv.')
    unwanted = [part for part, name in named.items() if name == UNWANTED]
    named = {part: name for part, name in named.items() if name != UNWANTED}
    numbers = [name.isdecimal() for name in named.values()]
    if any(numbers):
        if not all(numbers) or not {'user', 'item'} <= set(named):
            raise InputError('Columns are given by number where the file has no header: then --user and --item must '
                             'both be given, and every column by its number, from 1.')
        columns = {part: int(name) - 1 for part, name in named.items()}
        if not all(0 <= column < len(header) for column in columns.values()):
            raise InputError(f'{path} has {len(header)} columns: they are numbered from 1 to {len(header)}.')
        if header[columns['user']].lower() in KNOWN_COLUMNS['user']:
            raise InputError(f'{path} has a header ({", ".join(header)}): give the columns by name.')
        return columns, False
    columns = {}
    lower = [cell.lower() for cell in header]
    for part, candidates in KNOWN_COLUMNS.items():
        if part in named:
            if named[part] not in header:
                raise InputError(f'{path} has no column {named[part]!r}; its columns: {", ".join(header)}.')
            columns[part] = header.index(named[part])
        elif part not in unwanted:
            found = [lower.index(name) for name in candidates if name in lower]
            if found:
                columns[part] = found[0]
            elif part in ('user', 'item'):
                raise InputError(f'{path} has no column that is known to name the {part}; its columns: '
                                 f'{", ".join(header)}. Give the one with --{part}, by number (from 1) where the file '
                                 'has no header.')
    if len(set(columns.values())) < len(columns):
        raise InputError(f'One column of {path} was given two meanings: {columns}.')
    return columns, True


class _Ids:
    """Ids as text, numbered in the order in which they come."""

    def __init__(self):
        self.numbers = {}

    def encode(self, series):
        codes, distinct = pd.factorize(series)
        numbers = self.numbers
        mine = np.fromiter((numbers.setdefault(name, len(numbers)) for name in distinct), np.int64, len(distinct))
        return mine[codes]


def _read(path, separator, columns, has_header):
    tables = {'user': _Ids(), 'item': _Ids()}
    parts = {part: [] for part in columns}
    reader = pd.read_csv(path, sep=separator, header=None, skiprows=int(has_header), usecols=list(columns.values()),
                         dtype={columns[part]: str for part in ('user', 'item')}, keep_default_na=False,
                         na_values={columns[part]: [''] for part in columns if part not in tables},
                         skipinitialspace=True, chunksize=CHUNK, encoding='utf-8', low_memory=False)
    rows = int(has_header)
    with reader:
        for chunk in reader:
            for part, column in columns.items():
                values = chunk[column]
                missing = values == '' if part in tables else values.isna()
                if missing.any():
                    raise InputError(f'{path}: line {rows + int(missing.to_numpy().argmax()) + 1} has no {part}.')
                parts[part].append(tables[part].encode(values) if part in tables else _numbers(path, part, values))
            rows += len(chunk)
    if rows == int(has_header):
        raise InputError(f'{path} holds no interaction.')
    whole = {part: np.concatenate(pieces) for part, pieces in parts.items()}
    return Interactions(whole['user'], whole['item'], whole.get('rating'), whole.get('time'), whole.get('label'),
                        list(tables['user'].numbers), list(tables['item'].numbers))


def _numbers(path, part, values):
    numbers = pd.to_numeric(values, errors='coerce')
    if part == 'time' and numbers.isna().all():  # dates: seconds since 1970
        numbers = pd.to_datetime(values, utc=True, errors='coerce', format='ISO8601')
        wrong, expected = numbers.isna().to_numpy(), 'a number or a date like 2024-03-01 12:00:00'
        numbers = numbers.dt.as_unit('us').astype('int64') / 1e6
    else:
        wrong, expected = numbers.isna().to_numpy(), 'a number' + (' or a date' if part == 'time' else '')
    if wrong.any():
        raise InputError(f'{path}: the {part} {str(values.iloc[wrong.argmax()])[:40]!r} is not {expected}.')
    return numbers.to_numpy(np.float64)


def at_least(data, rating):
    if data.ratings is None:
        raise InputError('--min_rating needs a rating column: name it with --rating.')
    return data.keep(data.ratings >= rating)


def once_each(data):
    """Of interactions of the same user and item, the earliest; the first in the file where there is no time."""
    keys = data.users * len(data.item_ids) + data.items
    order = np.argsort(keys, kind='stable') if data.times is None else np.lexsort((data.times, keys))
    first = np.r_[True, np.diff(keys[order]) != 0]
    return data.keep(np.sort(order[first]))


def k_core(data, k):
    """What is left when users and items with fewer than k interactions are taken out until there are none."""
    while len(data):
        chosen = ((np.bincount(data.users)[data.users] >= k) & (np.bincount(data.items)[data.items] >= k))
        if chosen.all():
            break
        data = data.keep(chosen)
    return data


def renumbered(data):
    """Users and items that have interactions, numbered anew: by their ids where all are whole numbers, else in the
    order in which they appear in the file. Returns the data and the old numbers of the items by the new ones."""
    changed = {}
    for side, ids in (('users', data.user_ids), ('items', data.item_ids)):
        column = getattr(data, side)
        old = np.unique(column)
        if whole_numbers(ids):
            old = old[np.argsort([int(ids[number]) for number in old], kind='stable')]
        new = np.empty(len(ids), np.int64)
        new[old] = np.arange(len(old))
        changed |= {side: new[column], f'{side[:-1]}_ids': [ids[number] for number in old]}
    return replace(data, **changed), old


def whole_numbers(ids):
    return all(name.isdecimal() and len(name) < 16 and (name == '0' or name[0] != '0') for name in ids)


def split(data, how, ratio, rng):
    """TRAIN, VAL or TEST for each interaction.

    random: each user's interactions in the given ratio, by lot, one of them at least for training; leave-one-out: each
    user's last (without times: one by lot) for the test and the one before for validation, users with fewer than three
    stay in training; time: all interactions by their time, in the given ratio; label: MMRec's x_label.
    """
    parts = np.zeros(len(data), np.int64)
    if how == 'label':
        if data.labels is None:
            raise InputError('--split label needs a column x_label: this file has none.')
        if not np.isin(data.labels, (TRAIN, VAL, TEST)).all():
            raise InputError('The column x_label holds other values than 0 (train), 1 (validation) and 2 (test).')
        return data.labels.astype(np.int64)
    if how == 'time':
        if data.times is None:
            raise InputError('--split time needs a column of times: name it with --time.')
        cuts = np.round(np.cumsum(ratio)[:2] / sum(ratio) * len(data)).astype(int)
        for part, chosen in enumerate(np.split(np.argsort(data.times, kind='stable'), cuts)):
            parts[chosen] = part
        return parts
    lots = rng.random(len(data))
    keys = lots if how == 'random' or data.times is None else data.times
    order = np.lexsort((lots, keys, data.users))
    counts = np.bincount(data.users)
    from_end = (np.cumsum(counts) - 1)[data.users[order]] - np.arange(len(data))
    if how == 'random':
        n_test, n_val = (np.floor(counts * ratio[part] / sum(ratio) + 0.5).astype(int) for part in (TEST, VAL))
        n_test = np.minimum(n_test, counts - 1)
        n_val = np.minimum(n_val, counts - 1 - n_test)
    else:
        n_test = n_val = (counts >= 3).astype(int)
    mine = data.users[order]
    parts[order] = np.where(from_end < n_test[mine], TEST, np.where(from_end < (n_test + n_val)[mine], VAL, TRAIN))
    return parts
