"""One line of a table -> its cells, plainly: what the fast reader of blocks is held to, and what names its faults."""
import re
from dataclasses import dataclass

SPACES = ' '  # as separator: runs of them
NONE = ''     # as separator: each line is one cell
# Blanks that are taken off both ends of a cell: all that Unicode calls white space, and marks of no width.
BLANKS = ''.join(map(chr, (*range(9, 14), *range(28, 33), 0x85, 0xa0, 0x1680, 0x180e, *range(0x2000, 0x2010), 0x2028,
                           0x2029, 0x202f, 0x205f, 0x2060, 0x3000, 0xfeff)))
DOUBLED = 'a " that is text is doubled inside quotes'
QUOTED = re.compile('"(?:[^"]|"")*"')


@dataclass(frozen=True)
class Dialect:
    separator: str
    quotes: bool  # whether a " at the beginning of a cell is a quote, not text

    def told(self):
        name = {'\t': 'tab', SPACES: 'spaces'}.get(self.separator, repr(self.separator))
        return f'separator {name}' if self.separator else 'one column'


class BadLineError(Exception):
    """A line that has no right reading. cell: the number of the cell in which it goes wrong, from 0."""

    def __init__(self, cell, fault):
        super().__init__(fault)
        self.cell = cell


def split_line(line, dialect):
    """The cells of one line, stripped of blanks at both ends, without their quotes; BadLineError."""
    separator = dialect.separator or '\n'  # which is in no line
    if separator == SPACES:
        line = line.strip(BLANKS)
    if not dialect.quotes or '"' not in line:
        return [cell.strip(BLANKS) for cell in
                (re.split(' +', line) if separator == SPACES else line.split(separator))]
    cells, place = [], 0
    blanks = BLANKS.replace(separator, '')
    while True:
        while place < len(line) and line[place] in blanks:
            place += 1
        if line[place:place + 1] == '"':
            quoted = QUOTED.match(line, place)
            if not quoted:
                raise BadLineError(len(cells), 'opens a quote that the line does not close: a cell may hold no line '
                                               f'break, and {DOUBLED}')
            cell, place = quoted[0][1:-1].replace('""', '"'), quoted.end()
            while place < len(line) and line[place] in blanks:
                place += 1
            if place < len(line) and not line.startswith(separator, place):
                raise BadLineError(len(cells), f'goes on after a closing quote: {DOUBLED}')
        else:
            end = line.find(separator, place)
            end = len(line) if end < 0 else end
            cell, place = line[place:end], end
        cells.append(cell.strip(BLANKS))
        if place >= len(line):
            return cells
        place += len(separator)
        if separator == SPACES:
            while line.startswith(SPACES, place):
                place += 1
