"""A table that has been looked into and can be read, column by column, as text."""
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from Formats.Values import BadValueError, numbers_of, trimmed
from Formats.Words import column_name
from Utils.Errors import InputError

HEAD_ROWS = 100  # rows that are looked at before a table is read


@dataclass
class Block:
    """Some rows of a table. columns: arrow arrays, those that were asked for; first: the number of the first row's
    line; lines: the numbers of all of them, where they do not follow one another."""

    columns: list
    rows: int
    first: int
    lines: np.ndarray | None = None

    def line(self, row):
        return self.first + row if self.lines is None else int(self.lines[row])


@dataclass
class Table:
    """A table whose first rows have been read. `blocks` reads all of it; the other readers are made of that."""

    path: object
    form: str           # csv, atomic, json, lists, parquet
    names: list | None  # of the columns; None where the file has no header
    width: int          # number of columns
    head: list          # the first rows, at most HEAD_ROWS, as lists of text
    told: str           # what was chosen, for the log
    opener: object = field(repr=False)  # (positions, encoded) -> Blocks
    unit: str = 'line'  # what rows are counted in
    separator: str = ''  # of a delimited table
    header: list | None = None  # its first line's cells, as they are in the file, where they are the names
    notes: list = field(default_factory=list)  # what reading it has shown besides, for the log
    done: list = field(default_factory=list, repr=False)  # (first row, Block without its columns)

    def blocks(self, positions, encoded=()):
        """Blocks of rows in the file's order, each a list of arrow arrays of text; those of the positions in `encoded`
        are dictionaries. Blanks are still at the ends of cells, and a missing cell is null or ''."""
        self.done, rows = [], 0
        for block in self.opener(positions, encoded):
            columns, block.columns = block.columns, None
            self.done.append((rows, block))
            rows += block.rows
            if block.rows:
                yield columns

    def __len__(self):
        """The number of rows, once they have been read."""
        return sum(block.rows for _, block in self.done)

    def where(self, row):
        """The file and the line of a row that has been read, for a message."""
        first, block = next((first, block) for first, block in reversed(self.done) if first <= row)
        return f'{self.path}: {self.unit} {block.line(row - first):,}'

    def column(self, position):
        """A column as messages name it."""
        return column_name(position, self.names)

    def read(self, positions=None):
        """A numpy array of text for each column (None: all), without blanks at both ends; '' is an empty cell."""
        positions = list(range(self.width)) if positions is None else list(positions)
        parts = [[trimmed(array) for array in columns] for columns in self.blocks(positions)]
        return [pa.chunked_array([part[number] for part in parts], pa.string()).to_numpy().astype(object)
                for number in range(len(positions))]

    def numbers(self, positions):
        """float64 (rows, columns) of the numbers in these columns, NaN where a cell is empty; InputError."""
        positions, parts, row = list(positions), [], 0
        for columns in self.blocks(positions):
            parts.append(np.column_stack([self._numbers(array, position, row)
                                          for array, position in zip(columns, positions, strict=True)]))
            row += len(parts[-1])
        return np.concatenate(parts) if parts else np.empty((0, len(positions)))

    def _numbers(self, array, position, row):
        try:
            return numbers_of(array)
        except BadValueError as bad:
            raise InputError(f'{self.where(row + bad.place)}, {self.column(position)}: {bad}.') from bad
