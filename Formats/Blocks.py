"""Delimited text, read in blocks: every line has as many cells as the others, or the file is refused by that line.

pyarrow does the reading. What it would let pass is looked for here: bytes that are not UTF-8, NUL bytes, text after a
closing quote, quotes in the place of text; and the lines with content are counted apart from it.
"""
import re
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.csv

from Formats.Cells import BLANKS, SPACES, BadLineError, split_line
from Formats.Sample import not_utf8, nul_byte
from Formats.Table import Block
from Formats.Words import column_name, shown
from Utils.Errors import InputError

BLOCK = 2**24  # bytes
AHEAD = 2      # blocks that are read while one is worked on
UNEVEN = re.compile(rb'  |(?:^|[\r\n]) | (?:[\r\n]|$)')  # spaces that do not stand alone between two cells
OUTER = re.compile(rb'(?:(?<=[\r\n])|\A) +| +(?=[\r\n]|\Z)')  # spaces at the ends of lines
BLANK_LINE = re.compile(f'(?:^|[\r\n])[{re.escape(BLANKS)}]+(?:[\r\n]|$)')
ENCODED = pa.dictionary(pa.int32(), pa.string())
INNER = b'\x02'  # what pyarrow is given as separator where the file's own is not one character

pa.set_memory_pool(pa.system_memory_pool())  # large blocks come and go; this one gives their memory back at once


def read_blocks(path, stream, dialect, width, positions, encoded, start, first_line, names=None, length=0):
    """Blocks of the columns at `positions`, those in `encoded` as dictionaries. start: offset of the first row, which
    is on line `first_line`; length: of every row's last cell, where they are alike."""
    reader = _Reader(path, dialect, width, positions, encoded, names, length)
    yield from piece_by_piece(stream, start, first_line, reader.read)


def piece_by_piece(stream, start, first_line, read):
    """What read(piece, its first line) makes of each piece of whole lines, from the offset start on; in order, but done
    a few at a time: most of the work is outside Python."""
    with ThreadPoolExecutor(AHEAD) as pool:
        waiting = deque()
        for piece in _pieces(stream, start, first_line):
            waiting.append(pool.submit(read, *piece))
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
            line += _line_ends(piece)
        if not more:
            return


class _Reader:
    """Reads one piece of a file at a time."""

    def __init__(self, path, dialect, width, positions, encoded, names, length):
        self.path, self.dialect, self.width, self.names, self.length = path, dialect, width, names, length
        self.positions = positions
        self.types = {f'f{position}': ENCODED if position in encoded else pa.string() for position in positions}

    def read(self, piece, first_line):
        check_text(self.path, piece, first_line)
        if INNER in piece:
            line = first_line + _line_ends(piece[:piece.index(INNER)])
            raise InputError(f'{self.path}: line {line:,} holds the control character 2, which text does not have.')
        rows, lines = content_lines(piece, first_line)
        if self.length and not piece.endswith((b'\n', b'\r')):
            self._check_end(piece, first_line)
        quotes = self.dialect.quotes and b'"' in piece
        text = self._plain(piece, quotes) if rows else None
        table = None if text is None else self._parse(text, self.dialect.separator.encode(), quotes)
        if table is None or table.num_rows != rows:
            return self._line_by_line(piece, first_line)
        return Block([table.column(f'f{position}') for position in self.positions], rows, first_line, lines)

    def _check_end(self, piece, first_line):
        """InputError where a file's last line seems to be cut off in its last cell."""
        line = lines_of(piece.decode())[-1]
        number = first_line + _line_ends(piece)
        cells = cells_of(self.path, line, number, self.dialect, self.names)
        if len(cells) == self.width and len(cells[-1]) < self.length:
            raise InputError(f'{self.path}: line {number:,}, the last, has no line end, and its last cell '
                             f'({shown(cells[-1])}) is shorter than those above: the file seems to be cut short. If '
                             'it is whole, end its last line.')

    def _plain(self, piece, quotes):
        """The piece as pyarrow can read it rightly; None where it has to be gone through line by line."""
        separator = self.dialect.separator.encode()
        if self.width == 1 and BLANK_LINE.search(piece.decode()):
            return None
        if quotes and not _quotes_are_plain(piece, separator):
            return None
        if separator == b' ' and UNEVEN.search(piece):
            return None if quotes else OUTER.sub(b'', re.sub(rb'  +', b' ', piece))
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

    def _line_by_line(self, piece, first_line):
        """The same without pyarrow: where lines need mending, or have a fault that is to be named."""
        rows, numbers = [], []
        blanks = ''.join(mark for mark in BLANKS if mark == SPACES or mark != self.dialect.separator)
        for number, line in enumerate(lines_of(piece.decode()), first_line):
            if line.strip(blanks):
                rows.append(checked_cells(self.path, line, number, self.dialect, self.width, self.names))
                numbers.append(number)
        columns = [pa.array([row[position] for row in rows], pa.string()).cast(self.types[f'f{position}'])
                   for position in self.positions]
        return Block(columns, len(rows), first_line, np.array(numbers, np.int64))


def check_text(path, piece, first_line):
    """InputError where the bytes are not text in UTF-8."""
    if b'\0' in piece:
        raise nul_byte(path, first_line + _line_ends(piece[:piece.index(b'\0')]))
    if not piece.isascii():
        try:
            piece.decode()
        except UnicodeDecodeError as error:
            raise not_utf8(path, first_line + _line_ends(piece[:error.start])) from error


def cells_of(path, line, number, dialect, names=None):
    """The cells of a line; InputError where it cannot be taken apart."""
    try:
        return split_line(line, dialect)
    except BadLineError as bad:
        raise InputError(f'{path}: line {number:,}, {column_name(bad.cell, names)} {bad}: {shown(line)}.') from bad


def checked_cells(path, line, number, dialect, width, names=None):
    """The cells of a line that has as many of them as it should; InputError."""
    cells = cells_of(path, line, number, dialect, names)
    if len(cells) == width:
        return cells
    above = 'the header' if names else 'the first row'
    what = (f'{shown(cells[width])} comes after the last column' if len(cells) > width else
            f'there is none for {column_name(len(cells), names)}')
    advice = ('; --format lists reads a list of items on each line' if dialect.separator == SPACES else
              '; quote a cell that holds it' if dialect.quotes else '')
    raise InputError(f'{path}: line {number:,} has {len(cells)} cells and {above} {width}: {what} ({dialect.told()}'
                     f'{advice}).')


def lines_of(text):
    """Lines as an editor tells them apart: after a line feed, a carriage return, or both."""
    lines = re.split('\r\n|\r|\n', text)
    return lines[:-1] if not lines[-1] else lines


def _line_ends(piece):
    """How many lines end in the piece."""
    feeds = int(np.count_nonzero(np.frombuffer(piece, np.uint8) == 10))  # faster than bytes.count
    return feeds + (piece.count(b'\r') - piece.count(b'\r\n') if b'\r' in piece else 0)


def content_lines(piece, first_line):
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
