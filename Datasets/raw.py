"""Raw interactions, read from one table or from one per split; what was taken for what is logged in a line each."""
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from Datasets.columns import KNOWN_COLUMNS, SPLIT_COLUMNS, bare, by_number, choose, refuse_header, refuse_second_header
from Datasets.interactions import TEST, TRAIN, VAL, Interactions
from Datasets.oddities import check_ids
from Formats.Tables import open_table
from Formats.Times import Times
from Formats.Values import EMPTY, NUMBER, BadValueError, Ids, distinct, finite_numbers
from Formats.Words import shown
from Utils.Errors import InputError
from Utils.TimeLogger import log

LABELS = {'0': TRAIN, '0.0': TRAIN, 'train': TRAIN, 'training': TRAIN, 'trn': TRAIN,
          '1': VAL, '1.0': VAL, 'val': VAL, 'valid': VAL, 'validation': VAL, 'vali': VAL, 'dev': VAL,
          '2': TEST, '2.0': TEST, 'test': TEST, 'testing': TEST, 'tst': TEST}
TRUTHS = {'true': 1, 'false': 0}
ENCODED = ('user', 'item', 'rating', 'label')  # the parts with far fewer values than rows


@dataclass(frozen=True)
class Reading:
    """How files are read: form, separator and header (None: by rule) as `open_table` takes them.

    named: part -> column, by name or number, or UNWANTED. wanted: the parts that are read if there are columns for
    them. needed: those of them of which every cell must be readable; another that is not is left out, and told of.
    """

    form: str | None = None
    separator: str | None = None
    header: bool | None = None
    named: dict = field(default_factory=dict)
    wanted: tuple = ('user', 'item', 'rating', 'time', 'label')
    needed: tuple = ('user', 'item', 'rating', 'time', 'label')
    time_format: str | None = None


class _Ratings:
    """Numbers, of which few are distinct; true and false are 1 and 0."""

    def __init__(self, reading):
        self.blocks = []

    def add(self, array):
        places, values = distinct(array)
        places = places.to_numpy(zero_copy_only=False)
        try:
            self.blocks.append(self.read(values)[places])
        except BadValueError as bad:
            raise BadValueError((places == bad.place).argmax(), str(bad)) from bad

    def read(self, values):
        words = [word.lower() for word in values.to_pylist()]
        if set(words) <= set(TRUTHS):
            return np.array([TRUTHS[word] for word in words], np.float64)
        return finite_numbers(values)

    def result(self):
        return np.concatenate(self.blocks)


class _Labels(_Ratings):
    """Splits, by number or by word."""

    def read(self, values):
        words = [word.lower() for word in values.to_pylist()]
        wrong = next((place for place, word in enumerate(words) if word not in LABELS), None)
        if wrong is not None:
            raise BadValueError(wrong, 'other values than 0 (train), 1 (validation), 2 (test) or these words are no '
                                       f'split: {shown(values[wrong].as_py())}' if words[wrong] else EMPTY)
        return np.array([LABELS[word] for word in words], np.int8)


class _Times:
    def __init__(self, reading):
        self.times, self.blocks = Times(reading.time_format), []

    def add(self, array):
        self.blocks.append(self.times.add(array))

    def result(self):
        return np.concatenate(self.blocks)


_READERS = {'user': lambda reading: Ids(), 'item': lambda reading: Ids(), 'rating': _Ratings, 'time': _Times,
            'label': _Labels}


def read_interactions(source, reading=None):
    """A file, or a file per split ({TRAIN: path, ...}) -> Interactions, in the files' order; ids are numbered in the
    order in which they appear."""
    reading = reading or Reading()
    by_split = isinstance(source, dict)
    tables = _opened_alike(source.values() if by_split else [source], reading)
    chosen = [choose(table, named, reading.wanted) for table, named in tables]
    tables = [table for table, _ in tables]
    for table, (positions, _) in zip(tables, chosen, strict=True):
        if table.names is None and reading.header is None:
            refuse_header(table, positions)
        refuse_second_header(table)
    _check_same_columns(tables, chosen)
    parts = _parts_of_all(tables, chosen, reading)
    columns = {part: _READERS[part](reading) for part in parts}
    labels = []
    for table, (positions, told), split in zip(tables, chosen, source if by_split else [None], strict=True):
        left_out = _read(table, {part: positions[part] for part in columns}, columns, reading)
        if not len(table):
            raise InputError(f'{table.path} holds no interaction.')
        labels.append(np.full(len(table), split, np.int8) if by_split else None)
        log(_line(table, told, columns, left_out))
    users, user_ids = columns.pop('user').result()
    items, item_ids = columns.pop('item').result()
    for side, ids, numbers in (('user', user_ids, users), ('item', item_ids, items)):
        for sentence in check_ids(ids, numbers, side, lambda row: _where(tables, row)):
            log(f'WARNING: {sentence}')
    found = {part: column.result() for part, column in columns.items()}
    pa.default_memory_pool().release_unused()
    return Interactions(users, items, found.get('rating'), found.get('time'),
                        np.concatenate(labels) if by_split else found.get('label'),
                        user_ids.to_pylist(), item_ids.to_pylist())


def _opened_alike(paths, reading):
    """The table of each path and the columns that are named for it."""
    tables = [_opened(path, reading) for path in paths]
    if any(table.form == 'lists' for table, _ in tables):  # some of several may look like tables
        tables = [(open_table(table.path, form='lists'), named) if _may_be_lists(table) else (table, named)
                  for table, named in tables]
    return tables


def _opened(path, reading):
    numbered = by_number(reading.named)
    header = not numbered if reading.header is None else reading.header
    table = open_table(path, form=reading.form, separator=reading.separator, header=header)
    if reading.header is None and table.separator == '::' and not numbered and _is_movielens(table.names):
        return (open_table(path, form=reading.form, header=False),
                {'user': '1', 'item': '2', 'rating': '3', 'time': '4'} | reading.named)
    return table, reading.named


def _is_movielens(first):
    """Whether the first line seems to be a row of user::item::rating::time."""
    return (len(first) == 4 and all(NUMBER.fullmatch(cell) for cell in first)
            and float(first[2]) <= 10 and float(first[3]) >= 1e8)


def _may_be_lists(table):
    return table.separator in (' ', '') and all(cell.isdecimal() for row in (table.names or [], *table.head)
                                                for cell in row)


def _check_same_columns(tables, chosen):
    for part in ('user', 'item'):
        names = {bare(table.names[positions[part]]): table for table, (positions, _) in zip(tables, chosen, strict=True)
                 if table.names}
        if len(names) > 1:
            told = ', '.join(f'{shown(name)} of {table.path}' for name, table in names.items())
            raise InputError(f'The {part} would be read from columns of different names ({told}): say which with '
                             f'--{part}, or rename them.')


def _parts_of_all(tables, chosen, reading):
    """The parts that every table has a column for; InputError where one that is needed is in some of them only."""
    parts = []
    for part in reading.wanted:
        have = [part in positions for positions, _ in chosen]
        if any(have) and not all(have) and part in reading.needed:
            raise InputError(f'{tables[have.index(False)].path} has no column for the {part}, which '
                             f'{tables[have.index(True)].path} has: name it with --{part}, or leave it out with '
                             f'--{part} none.')
        if all(have):
            parts.append(part)
    return parts


def _read(table, positions, columns, reading):
    """Add a table's cells to the columns; returns why parts that nothing needs were left out."""
    left_out, row = [], 0
    encoded = [place for part, place in positions.items() if part in ENCODED]
    for arrays in table.blocks(list(positions.values()), encoded):
        _refuse_header_among_rows(table, positions, arrays, row)
        for part, array in zip(positions, arrays, strict=True):
            if part not in columns:
                continue
            try:
                columns[part].add(array)
            except BadValueError as bad:
                where, column = table.where(row + bad.place), table.column(positions[part])
                fault = f'{where} has no {part} in {column}' if str(bad) == EMPTY else f'{where}, {column}: {bad}'
                if part in reading.needed:
                    raise InputError(f'{fault}.') from bad
                left_out.append(f'the {part} is not read, and this split does not need it ({fault})')
                del columns[part]
        row += len(arrays[0])
    return left_out


def _where(tables, row):
    """The file and line of a row of all tables together."""
    for table in tables[:-1]:
        if row < len(table):
            return table.where(row)
        row -= len(table)
    return tables[-1].where(row)


def _refuse_header_among_rows(table, positions, arrays, row):
    """InputError where a header comes among the rows, as in files that were put one after another."""
    if table.unit != 'line' or table.form in ('json', 'lists'):
        return
    again = None
    for part, array in zip(positions, arrays, strict=True):
        if part in ('user', 'item'):
            places, words = distinct(array)
            names = {*KNOWN_COLUMNS[part], bare(table.names[positions[part]] if table.names else '')} - {''}
            among = pc.is_in(pc.utf8_lower(words), pa.array(sorted(names)))
            if not pc.any(among).as_py():
                return
            here = pc.take(among, places)
            again = here if again is None else pc.and_(again, here)
    if pc.any(again).as_py():
        raise InputError(f'{table.where(row + again.index(True).as_py())} is a header among the rows: take it out.')


def _line(table, told, columns, left_out):
    """What is logged of a table that was read."""
    said = []
    for part, text in told.items():
        unit = columns[part].times.told() if part == 'time' and part in columns else ''
        if part in columns:
            said.append(f'{part} = {text}' + (f' ({unit})' if unit else ''))
    hints = [f'column {shown(name)} is not used: --label {name} takes it for the split' for name in table.names or ()
             if bare(name) in SPLIT_COLUMNS and 'label' not in columns]
    return '; '.join([f'{table.path}: {table.told}', ', '.join(said), f'{len(table):,} rows', *table.notes, *left_out,
                      *hints])
