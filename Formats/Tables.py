"""Tables of any kind of file, read whole or refused: open one, look at its names and first rows, read columns as text.

    table = open_table(path)           # only the first lines are read
    table.names, table.head            # the header's names (None without header), some rows as lists of text
    table.read([0, 2])                 # a numpy array of text per column; '' is an empty cell
    table.numbers([1, 3, 4])           # float64 (rows, columns); NaN is an empty cell
    table.where(row)                   # 'clicks.csv: line 8', for messages, once it has been read
    table.column(2)                    # "column 'title'", likewise
"""
import re
from pathlib import Path

from Formats.Cells import NONE, SPACES
from Formats.Delimited import TYPED, delimited_table
from Formats.Json import json_table, seems_json
from Formats.Lists import list_table, seem_lists
from Formats.Opening import unpacked
from Formats.Parquet import SIGN, parquet_table
from Formats.Sample import first_lines
from Utils.Errors import InputError

SEPARATORS = {'comma': ',', 'semicolon': ';', 'pipe': '|', 'tab': '\t', 'colons': '::', 'space': SPACES, 'none': NONE}
FORMS = ('csv', 'inter', 'atomic', 'json', 'lists', 'parquet')


def open_table(path, *, form=None, separator=None, header=True):
    """A Table, looked into.

    form: None (told from the content), or one of FORMS: csv (any separator), inter (the same, by MMRec), atomic
    (RecBole's typed header), json, lists (user item item ...), parquet. separator: None (told from the first line), one
    of , ; | tab :: space (runs of them), or '' (each line is one cell, quotes being text). header: whether the first
    line of a delimited table names the columns; JSON and Parquet have names of their own.
    """
    path = Path(path)
    with unpacked(path) as stream:
        binary = stream.peek(4).startswith(SIGN)
        lines = None if binary else first_lines(path, stream)
    if binary or form == 'parquet':
        if not binary or form not in (None, 'parquet'):
            raise InputError(f'{path} is {"a" if binary else "no"} Parquet file: leave out --format.')
        return parquet_table(path)
    if form == 'json' or (form is None and separator is None and seems_json(lines)):
        return json_table(path, lines)
    if form == 'lists' or (form is None and separator is None and seem_lists(lines)):
        return list_table(path, lines, sure=form == 'lists')
    typed = all(TYPED.fullmatch(cell) for cell in re.split(r'[\t ,]+', lines[0].text.strip()))
    if form == 'atomic' and not typed:
        raise InputError(f'{path} has no header like user_id:token, which RecBole files have: leave out --format.')
    atomic = typed and form in (None, 'atomic')
    table = delimited_table(path, lines, separator, header or atomic, 'atomic' if atomic else 'csv')
    if form == 'inter' and 'x_label' not in (table.names or ()):
        raise InputError(f'{path} has no column x_label, which MMRec files have: leave out --format or use csv.')
    return table
