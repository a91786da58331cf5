"""Delimited text, read in blocks: every line has as many cells as the others, or the file is refused by that line.

pyarrow does the reading. What it would let pass is looked for here: bytes that are not UTF-8, NUL bytes, text after a
closing quote, quotes in the place of text; and the lines with content are counted apart from it.
"""
import re
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.csv

from Formats.Cells import BLANKS, BadLineError, split_line
from Formats.Sample import not_utf8, nul_byte
from Formats.Words import shown
from Utils.Errors import InputError

BLOCK = 2**24  # bytes
AHEAD = 2      # blocks that are read while one is worked on
UNEVEN = re.compile(rb'  |(?:^|[\r\n]) | (?:[\r\n]|$)')  # spaces that do not stand alone between two cells
INNER = b'\x02'  # what pyarrow is given as separator where the file's own is not one character


@dataclass
class Block:
    """Rows as columns of text; lines: the numbers of their lines, or that of the first where no other lies between."""

    columns: list
    rows: int
    first_line: int
    lines: np.ndarray | None

    def line(self, row):
        return self.first_line + row if self.lines is None else int(self.lines[row])


def read_blocks(path, stream, dialect, width, positions, encoded, start, first_line, names=None):
    """Blocks of the columns at `positions`, those in `encoded` as dictionaries. start: offset of the first row, which
    is on line `first_line`."""
    reader = _Reader(path, dialect, width, positions, encoded, names)
    pieces = _pieces(stream, start, first_line)
    with ThreadPoolExecutor(AHEAD) as pool:
        waiting = deque()
        for piece in pieces:
            waiting.append(pool.submit(reader.read, *piece))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _pieces(stream, start, line):
    """Pieces of whole lines, each with the number of its first line."""
    while start and (skipped := len(stream.read(min(start, BLOCK)))):
        start -= skipped
    rest = b''
    while True:
        more = stream.read(BLOCK)
        piece = rest + more
        if more:
            end = max(piece.rfind(b'\n'), piece.rfind(b'\r', 0, -1)) + 1
            piece, rest = piece[:end], piece[end:]
        if piece:
            yield piece, line
            line += piece.count(b'\n') + (piece.count(b'\r') - piece.count(b'\r\n') if b'\r' in piece else 0)
        if not more:
            return


class _Reader:
    """Reads one piece of a file at a time."""

    def __init__(self, path, dialect, width, positions, encoded, names):
        self.path, self.dialect, self.width, self.names = path, dialect, width, names
        self.positions = positions
        self.types = {f'f{position}': pa.dictionary(pa.int32(), pa.string()) if position in encoded else pa.string()
                      for position in positions}

    def read(self, piece, first_line):
        self._check_bytes(piece, first_line)
        rows, lines = _content_lines(piece, first_line)
        quotes = self.dialect.quotes and b'"' in piece
        text = self._plain(piece, quotes) if rows else None
        table = None if text is None else self._parse(text, self.dialect.separator.encode(), quotes)
        if table is None or table.num_rows != rows:
            text, lines = self._line_by_line(piece, first_line)
            rows = len(lines)
            table = self._parse(text, INNER, False) if rows else None
            if rows and (table is None or table.num_rows != rows):
                raise InputError(f'{self.path} cannot be read as a table between the lines {first_line:,} and '
                                 f'{first_line + rows:,}.')
        if not rows:
            return Block([], 0, first_line, None)
        columns = [table.column(f'f{position}') for position in self.positions]
        return Block(columns, rows, first_line, lines)

    def _plain(self, piece, quotes):
        """The piece as pyarrow can read it rightly; None where it has to be gone through line by line."""
        separator = self.dialect.separator.encode()
        if self.width == 1 and re.search(rb'(?:^|[\r\n])[ \t]+(?:[\r\n]|$)', piece):
            return None
        if quotes and not _quotes_are_plain(piece, separator):
            return None
        if separator == b' ' and UNEVEN.search(piece):
            return None if quotes else re.sub(rb'(?m)^ +| +(?=\r?$)', b'', re.sub(rb'  +', b' ', piece))
        return piece.replace(separator, INNER) if len(separator) > 1 else piece

    def _parse(self, text, separator, quotes):
        """The table that pyarrow makes of the text; None where it finds lines of different lengths."""
        separator = INNER if len(separator) != 1 else separator
        names = [f'f{position}' for position in range(self.width)]
        try:
            return pyarrow.csv.read_csv(
                pa.BufferReader(text), pyarrow.csv.ReadOptions(use_threads=False, block_size=len(text) + 1,
                                                             column_names=names),
                pyarrow.csv.ParseOptions(delimiter=separator.decode(), quote_char='"' if quotes else False),
                pyarrow.csv.ConvertOptions(column_types=self.types, include_columns=list(self.types),
                                           strings_can_be_null=False))
        except pa.ArrowInvalid:
            return None

    def _check_bytes(self, piece, first_line):
        if b'\0' in piece:
            raise nul_byte(self.path, first_line + _line_ends(piece[:piece.index(b'\0')]))
        if not piece.isascii():
            try:
                piece.decode()
            except UnicodeDecodeError as error:
                raise not_utf8(self.path, first_line + _line_ends(piece[:error.start])) from error
        if INNER in piece:
            line = first_line + _line_ends(piece[:piece.index(INNER)])
            raise InputError(f'{self.path}: line {line:,} holds the control character 2, which text does not have.')

    def _line_by_line(self, piece, first_line):
        """The piece with its cells set apart by INNER, and the numbers of its lines; InputError for the first fault."""
        rows, numbers = [], []
        for number, line in enumerate(lines_of(piece.decode()), first_line):
            if not line.strip(BLANKS):
                continue
            rows.append(INNER.decode().join(self.cells(line, number)))
            numbers.append(number)
        return '\n'.join(rows).encode(), np.array(numbers, np.int64)

    def cells(self, line, number):
        return checked_cells(self.path, line, number, self.dialect, self.width, self.names)


def checked_cells(path, line, number, dialect, width, names=None):
    """The cells of a line that has as many of them as it should; InputError."""
    try:
        cells = split_line(line, dialect)
    except BadLineError as bad:
        raise InputError(f'{path}: line {number:,}, {column(bad.cell, names)} {bad}: {shown(line)}.') from bad
    if len(cells) == width:
        return cells
    above = 'the header' if names else 'the first row'
    what = (f'{shown(cells[width])} comes after the last column' if len(cells) > width else
            f'there is none for {column(len(cells), names)}')
    advice = '; quote a cell that holds it' if dialect.quotes else ''
    raise InputError(f'{path}: line {number:,} has {len(cells)} cells and {above} {width}: {what} ({dialect.told()}'
                     f'{advice}).')


def column(position, names):
    """A column as messages name it."""
    return f'column {shown(names[position])}' if names and position < len(names) and names[position] else \
        f'column {position + 1}'


def lines_of(text):
    """Lines as an editor tells them apart: after a line feed, a carriage return, or both."""
    lines = re.split('\r\n|\r|\n', text)
    return lines[:-1] if not lines[-1] else lines


def _line_ends(piece):
    return piece.count(b'\n') + piece.count(b'\r') - piece.count(b'\r\n')


def _content_lines(piece, first_line):
    """How many lines of the piece have a character, and their numbers where that is not all."""
    if b'\r' in piece:
        piece = piece.replace(b'\r\n', b'\n').replace(b'\r', b'\n')
    ends = np.frombuffer(piece, np.uint8) == 10
    after = np.empty_like(ends)
    after[0], after[1:] = True, ends[:-1]
    lines = int(np.count_nonzero(ends)) + (not ends[-1])
    rows = int(np.count_nonzero(after & ~ends))
    if rows == lines:
        return rows, None
    starts = after & ~ends  # the first characters of lines with content
    return rows, first_line + np.cumsum(ends)[starts]


def _quotes_are_plain(piece, separator):
    """Whether every line's quotes open a cell, close one, or are doubled within: in turn they follow a separator, the
    line's beginning or a quote, and precede a separator, the line's end or a quote."""
    text = np.frombuffer(b'\n' + piece + b'\n', np.uint8)
    places = np.flatnonzero(text == 34)
    ends = np.flatnonzero((text == 10) | (text == 13))
    line = np.searchsorted(ends, places)
    first = np.flatnonzero(np.r_[True, line[1:] != line[:-1]])
    counts = np.diff(np.r_[first, len(places)])
    if (counts % 2).any():
        return False
    opening = (np.arange(len(places)) - np.repeat(first, counts)) % 2 == 0
    edge = np.zeros(256, bool)
    edge[[10, 13, 34, *separator]] = True
    return bool(edge[text[places[opening] - 1]].all() and edge[text[places[~opening] + 1]].all())
