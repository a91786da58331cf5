"""Delimited text as a table: which separator, where the header ends, and whether all the first rows fit it."""
import re

import pyarrow.compute as pc

from Formats.Blocks import cells_of, checked_cells, read_blocks
from Formats.Cells import NONE, Dialect
from Formats.Opening import unpacked
from Formats.Sample import find_dialect
from Formats.Table import HEAD_ROWS, Table
from Formats.Values import trimmed
from Formats.Words import shown
from Utils.Errors import InputError

EXCEL = re.compile('"?sep=(.)"?', re.IGNORECASE)  # the line that tells Excel the separator
LIKE = 10  # rows whose last cells are equally long, from which on it is said that those of all should be
COMMENT = re.compile('[#%]|//')
RULER = re.compile(r'[-=+:|,;\t ]*[-=]{2}[-=+:|,;\t ]*')
TYPED = re.compile(r'[^:]+:(token|float)(_seq)?')  # a cell of RecBole's headers


def delimited_table(path, lines, separator=None, header=True, form='csv'):
    """lines: the first ones. form: csv, or atomic, which has RecBole's typed header and quotes that are text."""
    told, start, number = '', lines[0].start, lines[0].number
    excel = EXCEL.fullmatch(lines[0].text)
    if excel and separator is None:
        separator, told, start, number = excel[1], ' (as its first line says)', lines[0].end, lines[0].number + 1
        lines = lines[1:] or [lines[0]]
    quotes = form == 'csv' and '.inter' not in path.suffixes
    dialect = (find_dialect(lines[0].text, quotes, [line.text for line in lines[1:HEAD_ROWS]]) if separator is None else
               Dialect(separator, quotes and separator not in ('\t', NONE)))
    first = cells_of(path, lines[0].text, lines[0].number, dialect)
    names, rows = None, lines
    if header:
        names, rows, start, number = first, lines[1:], lines[0].end, lines[0].number + 1
        if form == 'atomic':
            names = [name.partition(':')[0] for name in names]
    _refuse_comment(path, lines, len(first), quotes)
    names, width, spare = _shape(path, names, first, rows[:HEAD_ROWS], dialect)
    _refuse_ruler(path, rows[:1], dialect)
    head = [checked_cells(path, line.text, line.number, dialect, width, names) for line in rows[:HEAD_ROWS]]
    if names and spare:
        names = names[:-1]
    ends = {len(row[-1]) for row in head[:-1]}
    length = ends.pop() if len(ends) == 1 and len(head) > LIKE else 0

    def opener(positions, encoded):
        asked = [*positions, width - 1] if spare else list(positions)
        with unpacked(path) as stream:
            for block in read_blocks(path, stream, dialect, width, asked, encoded, start, number, names, length):
                if spare and block.rows:
                    _check_spare(path, block, width)
                yield block

    told = f'{dialect.told()}{told}, {"header" if header else "no header"}'
    return Table(path, form, names, width - spare, [row[:width - spare] for row in head], told, opener,
                 separator=dialect.separator, header=first if header else None)


def _shape(path, names, first, rows, dialect):
    """The names, the number of cells in each row, and whether the last of these is always empty (spare)."""
    cells = [cells_of(path, line.text, line.number, dialect) for line in rows]
    widths = {len(row) for row in cells} or {len(first)}
    ends_empty = all(not row[-1] for row in cells)
    if names is None:
        return None, len(first), len(first) > 1 and ends_empty
    if widths == {len(names) + 1} and ends_empty:
        return [*names, ''], len(names) + 1, True
    if widths == {len(names) - 1} and not names[-1]:
        return names[:-1], len(names) - 1, False
    if widths == {len(names) + 1} and len({row[0] for row in cells}) == len(cells) > 1:
        raise InputError(
            f'{path}: line {rows[0].number:,} has {len(cells[0])} cells and the header {len(names)}, so have the lines '
            f'after it: if {shown(cells[0][0])} is the name of a row, as R writes them, write the table with '
            f'row.names = FALSE; else {shown(cells[0][-1])} comes after the last column, {shown(names[-1])}.')
    return names, len(names), False


def _refuse_comment(path, lines, width, quotes):
    """InputError where the first line is a comment: the next one, taken apart by itself, has more or fewer cells."""
    if len(lines) > 1 and COMMENT.match(lines[0].text):
        line = lines[1]
        if len(cells_of(path, line.text, line.number, find_dialect(line.text, quotes))) != width:
            raise InputError(f'{path}: line {lines[0].number:,} seems to be a comment ({shown(lines[0].text)}): take '
                             'it out.')


def _refuse_ruler(path, rows, dialect):
    """InputError where the line below the header only draws a line, as in tables that are made to be looked at."""
    for line in rows:
        if RULER.fullmatch(line.text):
            raise InputError(f'{path}: line {line.number:,} only rules a line below the header ({shown(line.text)}): '
                             f'take it out{", and the marks around the cells" if dialect.separator == "|" else ""}.')


def _check_spare(path, block, width):
    filled = pc.not_equal(trimmed(block.columns.pop()), '')
    if pc.any(filled).as_py():
        raise InputError(f'{path}: line {block.line(filled.index(True).as_py()):,} has something in its cell {width}, '
                         'which is empty in the first rows.')
