"""Features from tables with an id in each row: delimited text, JSON, Parquet, read by Formats. Which column has the ids
is told by their values."""
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from Datasets.columns import KNOWN_COLUMNS, MORE_COLUMNS, bare
from Features.Arrays import Rows
from Formats.Blocks import lines_of
from Formats.Cells import BLANKS
from Formats.Opening import unpacked
from Formats.Tables import open_table
from Formats.Values import NUMBER
from Formats.Words import listed, shown
from Utils.Errors import InputError

ITEM_NAMES = {*KNOWN_COLUMNS['item'], *MORE_COLUMNS['item'], 'id', 'ids'}
UNNAMED = re.compile(r'(unnamed: \d+|__index_level_\d+__|index|)')  # what pandas calls a column that counts the rows
DECIMAL_COMMA = re.compile(r'[+-]?[0-9]*,[0-9]+')  # or two whole numbers with a comma between them
BETWEEN = re.compile(r'[\s,;|]+')


def read_keyed(path, known):
    """A table -> Rows. known: the ids of the items, as a set."""
    table = with_header_or_not(path, known)
    if table.form == 'lists':
        return _dictionary(path, table)
    ids, left_out, notes = _ids_column(table, known)
    wanted = [place for place in range(table.width) if place != ids and place not in left_out]
    if not wanted:
        raise InputError(f'{path} has no column beside {listed([table.column(place) for place in range(table.width)])}:'
                         ' features were expected.')
    names = None
    if ids is not None:
        names = table.read([ids])[0].tolist()
        if '' in names:
            raise InputError(f'{table.where(names.index(""))} has no id in {table.column(ids)}.')
        notes = [f'ids = {table.column(ids)}', *notes]
    values = _values(table, wanted)
    return Rows(path, values, names, [table.told, *notes], table.where)


def with_header_or_not(path, known):
    """The table, opened with a header unless its first line is a row: an item's id, and numbers beside it."""
    table = open_table(path)
    first = table.names
    if table.form != 'csv' or not first or not first[0]:
        return table
    places = [place for place, cell in enumerate(first) if cell in known]
    if not places or not all(NUMBER.fullmatch(cell) or _is_vector(cell) for place, cell in enumerate(first)
                             if place != places[0]):
        return table
    if first == [str(number) for number in range(len(first))]:
        if first[0] in table.read([0])[0]:
            return table
        raise InputError(f'{path} begins with the line {listed(first)}, which may be a row or the header that pandas '
                         'writes for columns without names: name the columns.')
    return open_table(path, header=False)


def _is_vector(cell):
    """Whether a cell holds several numbers, with or without brackets around them."""
    words = BETWEEN.split(cell.strip(BLANKS + '[]()'))
    return cell[:1] in ('[', '(') or (len(words) > 1 and all(map(NUMBER.fullmatch, words)))


def _first_cell(table, place):
    return next((row[place] for row in table.head if row[place]), '')


def _is_item_name(table, place):
    return bool(table.names) and bare(table.names[place]).replace('-', '_') in ITEM_NAMES


def _is_user_name(table, place):
    return bool(table.names) and bare(table.names[place]) in KNOWN_COLUMNS['user']


def _ids_column(table, known):
    """(the column of the ids, or None; the columns that are no features; what is to be said)."""
    numeric = {place for place in range(table.width) if NUMBER.fullmatch(_first_cell(table, place) or '0')}
    looked_at = [place for place in range(table.width) if _first_cell(table, place)[:1] != '{'
                 and not _is_vector(_first_cell(table, place)) and (
                     place == 0 or place not in numeric or _is_item_name(table, place) or _is_user_name(table, place)
                     or _is_unnamed(table, place)
                     or any(row[place] in known for row in table.head))]
    columns = dict(zip(looked_at, map(np.ndarray.tolist, table.read(looked_at)), strict=True))
    counts_rows = {place for place in columns if _is_unnamed(table, place) and _counts(columns[place])}
    different = {place: set(column) for place, column in columns.items()}
    scores = {place: len(different[place] & known) for place, column in columns.items()
              if place not in counts_rows and (place not in numeric or _is_item_name(table, place)
                                               or len(different[place]) >= 0.9 * len(column))}
    best = max(scores.values(), default=0)
    likely = [place for place, score in scores.items() if score and 2 * score >= best]
    if not likely:
        return None, *_without_ids(table, known, numeric, counts_rows)
    named = [place for place in likely if _is_item_name(table, place)]
    if len(likely) > 1 and len(named) != 1:
        raise InputError(f'{table.path}: the ids of the items may be in {" or in ".join(map(table.column, likely))}: '
                         'call the right one item_id, or take the others away.')
    ids = likely[0] if len(likely) == 1 else named[0]
    names = [place for place in columns if place != ids and place not in counts_rows and (
        _is_item_name(table, place) or _is_user_name(table, place)
        or (_is_unnamed(table, place) and all(map(str.isdecimal, columns[place]))))]
    return ids, {*counts_rows, *names}, [*_told(table, counts_rows), *(
        f'{table.column(place)} seems to name items, users or rows and is left out' for place in names)]


def _told(table, counts_rows):
    return [f'{table.column(place)} counts the rows and is left out' for place in sorted(counts_rows)]


def _is_unnamed(table, place):
    return bool(table.names) and UNNAMED.fullmatch(bare(table.names[place])) is not None


def _counts(column):
    """Whether a column holds 0, 1, 2, ... or 1, 2, 3, ..., as pandas and R write the rows' names."""
    return any(column == [str(number) for number in range(start, start + len(column))] for start in (0, 1))


def _without_ids(table, known, numeric, counts_rows):
    """(columns that are no features, what is to be said) of a table in which no column has the items' ids."""
    names = [place for place in range(table.width) if place not in counts_rows and (
        _is_item_name(table, place) or (place not in numeric and not _is_vector(_first_cell(table, place))))]
    if not names:
        return counts_rows, ['no column has ids', *_told(table, counts_rows)]
    example = _first_cell(table, names[0])
    as_numbers = {number.lstrip('0') for number in known}
    hint = ('' if not example or example.partition('.')[0].lstrip('0') not in as_numbers else
            ' Without leading zeros, or a point, they would agree: write ids as text.')
    raise InputError(f'{table.path}: no column holds ids of the items. In {table.column(names[0])} is '
                     f'{shown(example)}, an item of the interactions is {shown(min(known))}.{hint}')


def _values(table, places):
    vectors = [place for place in places if _is_vector(_first_cell(table, place))]
    for place in vectors:
        if DECIMAL_COMMA.fullmatch(cell := _first_cell(table, place)):
            raise InputError(f'{table.path}: {table.column(place)} holds {shown(cell)}, which may be one number with a '
                             'decimal comma or two numbers: write numbers with a point, or lists in brackets.')
    if vectors and len(places) > 1:
        raise InputError(f'{table.path}: {table.column(vectors[0])} holds several numbers in a cell, and there '
                         f'{"is" if len(places) == 2 else "are"} also '
                         f'{listed([table.column(place) for place in places if place != vectors[0]])}: leave the ids '
                         'and one of them.')
    return _stacked(table, _vector_cells(table, places[0])) if vectors else table.numbers(places)


def _vector_cells(table, place):
    """For each row its list of numbers, None where the cell is empty."""
    if table.form == 'parquet':
        with unpacked(table.path) as stream:
            column = pa.parquet.ParquetFile(pa.BufferReader(stream.read())).read(
                columns=[table.names[place]]).column(0)
        if pa.types.is_nested(column.type):
            return column.to_pylist()
    if table.form == 'json':
        cells = _json_cells(table, table.names[place])
        return [_from_text(table, row, cell) if isinstance(cell, str) else cell for row, cell in enumerate(cells)]
    return [_from_text(table, row, cell) for row, cell in enumerate(table.read([place])[0])]


def _json_cells(table, name):
    with unpacked(table.path) as stream:
        text = stream.read().decode('utf-8-sig')
    objects = (json.loads(text) if text.lstrip().startswith('[') else
               [json.loads(line) for line in lines_of(text) if line.strip(BLANKS)])
    return [entry.get(name) for entry in objects]


def _from_text(table, row, cell):
    if cell[:1] == '[':
        try:
            return json.loads(cell) or None
        except ValueError:  # numbers without commas between them, or something else
            pass
    words = [word for word in BETWEEN.split(cell.strip(BLANKS + '[]()')) if word]
    for word in words:
        if not NUMBER.fullmatch(word):
            why = ': the list was shortened when it was printed' if word == '...' else ''
            raise InputError(f'{table.where(row)}: {shown(word)} in the list {shown(cell)} is not a number{why}.')
    return [float(word) for word in words] or None


def _stacked(table, lists):
    """Lists of numbers, all of one length, as a table, NaN for None."""
    first = next((row for row, numbers in enumerate(lists) if numbers is not None), None)
    if first is None:
        raise InputError(f'{table.path} holds no features.')
    values = np.full((len(lists), len(lists[first])), np.nan)
    for row, numbers in enumerate(lists):
        if numbers is None:
            continue
        if not isinstance(numbers, list) or len(numbers) != values.shape[1]:
            got = f'{len(numbers)} numbers' if isinstance(numbers, list) else shown(json.dumps(numbers))
            raise InputError(f'{table.where(row)} has {got}, but {table.where(first)} has {values.shape[1]} numbers: '
                             'all items need as many.')
        try:
            values[row] = [np.nan if number is None else number for number in numbers]
        except (TypeError, ValueError):
            raise InputError(f'{table.where(row)} has something else than numbers in its list '
                             f'{shown(json.dumps(numbers, default=str))}.') from None
    return values


def _dictionary(path, table):
    """{"id": [numbers], ...} in JSON."""
    if not table.told.startswith('JSON'):
        raise InputError(f'{path} seems to hold lists of items (user item item ...), not features.')
    with unpacked(path) as stream:
        lists = json.loads(stream.read().decode('utf-8-sig'))
    names = list(lists)

    def where(row):
        return f'{path}: the list of {shown(names[row])}'
    widths = [len(numbers) for numbers in lists.values()]
    odd = next((row for row, width in enumerate(widths) if width != widths[0]), None)
    if odd is not None or not widths[0]:
        raise InputError(f'{where(odd or 0)} has {widths[odd or 0]} numbers, {where(0)} has {widths[0]}: all items '
                         'need as many, one or more.')
    try:
        values = np.array([[np.nan if number is None else number for number in numbers] for numbers in lists.values()],
                          np.float64)
    except (TypeError, ValueError):
        raise InputError(f'{path} has something else than numbers in its lists.') from None
    return Rows(path, values, [name.strip(BLANKS) for name in names], ['JSON, a list of numbers per item'], where)
