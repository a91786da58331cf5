"""The first lines of a text file, and what they tell: the separator, and where the header ends."""
import re
from dataclasses import dataclass

from Formats.Cells import BLANKS, NONE, QUOTED, SPACES, Dialect
from Utils.Errors import InputError

SIZE = 2**18  # bytes that are looked at; more, where the first line is longer
LONGEST_LINE = 2**28
BOM = b'\xef\xbb\xbf'
LINE = re.compile(rb'([^\r\n]*)(\r\n|\r|\n|\Z)')
EXCEL = re.compile(r'"?sep=(.)"?', re.IGNORECASE)  # the line in which Excel is told the separator


@dataclass(frozen=True)
class Line:
    number: int  # as an editor counts, from 1
    text: str
    start: int   # offset of its first byte
    end: int     # and of the first of the next line


def first_lines(path, stream):
    """The lines with content at the beginning of a stream; InputError where there is none or they are not UTF-8."""
    head, whole = b'', False
    while not whole and len(head) < LONGEST_LINE and not holds_two_lines(head):
        more = stream.read(max(SIZE, len(head)))
        head, whole = head + more, not more
    if not whole:  # the last line may go on
        head = head[:max(head.rfind(b'\n'), head.rfind(b'\r', 0, -1)) + 1] or head
    lines, start = [], len(BOM) * head.startswith(BOM)
    number = 0
    while start < len(head):
        match = LINE.match(head, start)
        number += 1
        try:
            text = match[1].decode()
        except UnicodeDecodeError as error:
            raise not_utf8(path, number) from error
        if '\0' in text:
            raise nul_byte(path, number)
        if text.strip(BLANKS):
            lines.append(Line(number, text, start, match.end()))
        start = match.end()
    if not lines:
        raise InputError(f'{path} is empty: a header or a first row was expected.')
    return lines


def holds_two_lines(head):
    """Whether two lines with content are whole, as far as can be told."""
    lines = re.split(rb'[\r\n]+', head)[:-1]
    return sum(bool(line.decode('utf-8', 'ignore').strip(BLANKS)) for line in lines) > 1


def not_utf8(path, number):
    return InputError(f'{path}: line {number:,} is not UTF-8: save the file as UTF-8 (it may be Latin-1 or '
                      'Windows-1252 now).')


def nul_byte(path, number):
    return InputError(f'{path}: line {number:,} holds a NUL byte, so that the file is damaged or no text in UTF-8.')


def find_dialect(line, quotes=True, others=()):
    """The dialect that the first line tells: a tab before ::, before whichever of , ; | is most frequent, before
    spaces. quotes: whether a " may be a quote at all. others: the next lines; a separator of which all have as many
    goes before one of which they have not."""
    bare, *others = (QUOTED.sub('quoted', text) for text in (line, *others))
    if '\t' in line.strip(BLANKS.replace('\t', '')):
        return Dialect('\t', quotes and all(re.fullmatch('".*"', cell) for cell in line.split('\t')))
    if '::' in bare:
        return Dialect('::', False)
    best = max(',;|', key=lambda mark: (all(bare.count(mark) == text.count(mark) > 0 for text in others),
                                        bare.count(mark)))
    if best in bare:
        return Dialect(best, quotes)
    return Dialect(SPACES if ' ' in bare.strip(BLANKS) else NONE, quotes)
