"""--feature_ids: the id of each row of a table that has none, from a file of its own."""
import re

import numpy as np

from Datasets.columns import bare
from Features.Arrays import NUMPY, ids_as_text
from Features.Tables import ITEM_NAMES, with_header_or_not
from Formats.Tables import open_table
from Formats.Words import listed, shown
from Utils.Errors import InputError

SEPARATED = re.compile(r'[\s,;|:]')
EXPECTED = 'expected was an id per row, one a line, or two columns, ids and row numbers from 0'


def read_ids(path, n_rows, known):
    """A file -> the ids of n_rows rows, in their order. known: the ids of the items, as a set."""
    if path.is_file():
        with open(path, 'rb') as file:
            if file.read(len(NUMPY)) == NUMPY:
                return _checked(path, _of_array(path), n_rows, known)
    whole = open_table(path, separator='', header=False)
    if whole.form != 'parquet':
        lines = [_unquoted(line) for line in whole.read([0])[0]]
        if known.intersection(lines) or not any(map(SEPARATED.search, lines)):
            return _checked(path, lines, n_rows, known)
    table = with_header_or_not(path, known)
    columns = [column.tolist() for column in table.read()]
    if table.width == 1:
        return _checked(path, columns[0], n_rows, known)
    if table.width != 2:
        raise InputError(f'{path} has {table.width} columns ({table.told}); {EXPECTED}.')
    return _ordered(table, columns, n_rows, known)


def _of_array(path):
    try:
        with open(path, 'rb') as file:
            ids = np.load(file, allow_pickle=False)
    except Exception as error:  # numpy has several kinds of failure for a damaged file
        raise InputError(f'{path} holds no array of text or whole numbers: write it with numpy.save, as text.'
                         ) from error
    if ids.ndim != 1:
        raise InputError(f'{path} holds {" x ".join(map(str, ids.shape))} values; {EXPECTED}.')
    return ids_as_text(path, ids)


def _unquoted(line):
    return line[1:-1].replace('""', '"') if len(line) > 1 and line[0] == line[-1] == '"' else line


def _checked(path, ids, n_rows, known):
    if ids and ids[0] not in known and (len(ids) == n_rows + 1 or bare(ids[0]).replace('-', '_') in ITEM_NAMES):
        ids = ids[1:]  # below a header
    if len(ids) != n_rows:
        raise InputError(f'{path} has {len(ids):,} ids, but the features have {n_rows:,} rows: {EXPECTED}.')
    if not known.intersection(ids):
        raise InputError(f'{path} has no id of an item of the interactions: its first is {shown(ids[0])}, one of these '
                         f'is {shown(min(known))}.')
    return ids


def _ordered(table, columns, n_rows, known):
    """Ids by the row numbers beside them."""
    numbers = [str(row) for row in range(n_rows)]
    fitting = [place for place in (0, 1) if sorted(columns[place]) == sorted(numbers)
               and known.intersection(columns[1 - place])]
    if len(fitting) == 2 and columns[0] != columns[1]:
        named = [place for place in fitting if table.names and table.names[place].lower() in ('index', 'row', 'number')]
        fitting = named if len(named) == 1 else fitting
    if not fitting or (len(fitting) == 2 and columns[0] != columns[1]):
        raise InputError(f'{table.path}: which of its columns {listed([table.column(place) for place in (0, 1)])} has '
                         f'the numbers of the {n_rows:,} rows, from 0, and which the ids, is not told; {EXPECTED}.')
    ids = dict(zip(columns[fitting[0]], columns[1 - fitting[0]], strict=True))
    return [ids[number] for number in numbers]
