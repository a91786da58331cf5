"""Tables of any kind of file, read whole or refused: open one, look at its names and first rows, read columns as text.

    table = open_table(path)           # the first lines only are read
    table.names, table.head            # the header's names (None without header), some rows as lists of text
    table.read([0, 2])                 # a numpy array of text per column; '' is an empty cell
    table.numbers([1, 3, 4])           # float64 (rows, columns); NaN is an empty cell
    table.where(row)                   # 'clicks.csv: line 8', for messages; afterwards
"""
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from Formats.Cells import BLANKS, BadLineError, Dialect, split_line
from Formats.Delimited import checked_cells, column, read_blocks
from Formats.Opening import unpacked
from Formats.Sample import find_dialect, first_lines
from Formats.Words import shown
from Utils.Errors import InputError

HEAD_ROWS = 100  # rows that are shown before a table is read


@dataclass
class Table:
    """A table that has been looked into. `blocks` reads it; the other readers are made of that."""

    path: object
    names: list | None  # of the columns, None where the file has no header
    width: int          # number of columns
    head: list          # the first rows, at most HEAD_ROWS, as lists of text
    told: str           # what was chosen, for the log
    opener: object = field(repr=False)  # (positions, encoded) -> blocks
    read_blocks: list = field(default_factory=list, repr=False)  # (first row, block without its columns)

    def blocks(self, positions, encoded=()):
        """Blocks of rows in the file's order: `columns` as arrow arrays of text, those in `encoded` as dictionaries."""
        self.read_blocks, rows = [], 0
        for block in self.opener(positions, encoded):
            columns, block.columns = block.columns, None
            self.read_blocks.append((rows, block))
            rows += block.rows
            if block.rows:
                yield columns

    def __len__(self):
        """The number of rows, once it has been read."""
        return sum(block.rows for _, block in self.read_blocks)

    def where(self, row):
        """The file and the line of a row that has been read, for a message."""
        first, block = next((first, block) for first, block in reversed(self.read_blocks) if first <= row)
        return f'{self.path}: line {block.line(row - first):,}'

    def column(self, position):
        """A column's name as messages have it."""
        return column(position, self.names)

    def read(self, positions=None):
        """A numpy array of text for each column (all: None), without blanks at both ends."""
        positions = list(range(self.width)) if positions is None else list(positions)
        parts = [[trimmed(array) for array in columns] for columns in self.blocks(positions)]
        return [np.concatenate([part[number].to_numpy(zero_copy_only=False) for part in parts])
                if parts else np.empty(0, object) for number in range(len(positions))]

    def numbers(self, positions):
        """float64 (rows, columns) of the numbers in these columns, NaN where a cell is empty; InputError."""
        positions, parts, row = list(positions), [], 0
        for columns in self.blocks(positions):
            parts.append(np.column_stack([self._numbers(array, position, row)
                                          for array, position in zip(columns, positions, strict=True)]))
            row += len(parts[-1])
        return np.concatenate(parts) if parts else np.empty((0, len(positions)))

    def _numbers(self, array, position, row):
        numbers, wrong = numbers_of(array)
        if wrong is not None:
            text = trimmed(array)[wrong].as_py()
            raise InputError(f'{self.where(row + wrong)}, {self.column(position)}: {shown(text)} is not a number.')
        return numbers


def one_array(array):
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def trimmed(array):
    """Text without the blanks at both ends; '' for a missing cell."""
    return pc.fill_null(pc.utf8_trim(one_array(array), BLANKS), '')


def numbers_of(array):
    """Text -> float64 with NaN for empty cells, and None or the first place with something else than a number."""
    array = one_array(array)
    try:
        return pc.cast(array, pa.float64()).to_numpy(zero_copy_only=False), None
    except pa.ArrowInvalid:
        numbers = np.full(len(array), np.nan)
    for place, text in enumerate(trimmed(array).to_pylist()):
        try:
            numbers[place] = float(text.replace('_', ' ')) if text else np.nan
        except ValueError:
            return numbers, place
    return numbers, None


def open_table(path, separator=None, header=True, quotes=True):
    """A table, looked into: its first lines say how it is written. separator: None, or one of , ; | tab :: space (runs
    of them), or '' (each line is one cell). header: whether the first line names the columns."""
    with unpacked(path) as stream:
        lines = first_lines(path, stream)
    dialect = (find_dialect(lines[0].text, quotes) if separator is None else
               Dialect(separator, quotes and separator != '\t'))
    return delimited(path, lines, dialect, header)


def delimited(path, lines, dialect, header):
    try:
        first = split_line(lines[0].text, dialect)
    except BadLineError as bad:
        raise InputError(f'{path}: line {lines[0].number:,} {bad}: {shown(lines[0].text)}.') from bad
    names, rows, width = (first, lines[1:], len(first)) if header else (None, lines, len(first))
    head = [checked_cells(path, line.text, line.number, dialect, width, names) for line in rows[:HEAD_ROWS]]

    def opener(positions, encoded):
        with unpacked(path) as stream:
            first = rows[0] if rows else None
            if first:
                yield from read_blocks(path, stream, dialect, width, positions, encoded,
                                       lines[0].end if header else 0, lines[0].number + bool(header), names)
    return Table(path, names, width, head, dialect.told() + (', header' if header else ', no header'), opener)
