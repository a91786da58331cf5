"""Tables of any kind of file: read whole, as an honest reading line by line has them, or refused in one sentence."""
import bz2
import csv
import gzip
import io
import lzma
import re
import tempfile
import zipfile
from pathlib import Path

import pytest
from conftest import SEED
from hypothesis import HealthCheck, event, given, seed, settings, strategies as st

from Formats import Blocks, Delimited, Sample
from Formats.Cells import BLANKS
from Formats.Tables import open_table
from Utils.Errors import InputError

EXAMPLES = settings(max_examples=300, deadline=None, database=None, print_blob=True,
                    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
PACKERS = {'': bytes, '.gz': gzip.compress, '.bz2': bz2.compress, '.xz': lzma.compress}
LETTERS = st.sampled_from('abcXYZ0123456789 .-_/"\',;|:éß漢\u00a0#')
CELLS = st.text(LETTERS, max_size=8)


def written(rows, separator, end, quoting, rng):
    """Rows as delimited text; cells are free of what the dialect cannot hold."""
    if separator in ',;|':
        text = io.StringIO(newline='')
        csv.writer(text, delimiter=separator, lineterminator=end, quoting=quoting).writerows(rows)
        return text.getvalue()
    return end.join([(separator if separator != ' ' else ' ' * rng.randint(1, 3)).join(row) for row in rows] + [''])


@st.composite
def tables(draw):
    """(names, rows, the file's bytes, its suffix)."""
    separator = draw(st.sampled_from([',', ';', '|', '\t', '::', ' ']))
    width = draw(st.integers(2, 6))
    names = [f'c{n}' for n in range(width)]
    rows = draw(st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=25))
    forbidden = {'\t': '\t', '::': ':', ' ': ' "\u00a0'}.get(separator, '')
    rows = [[''.join(letter for letter in cell if letter not in forbidden) for cell in row] for row in rows]
    if separator == ' ':
        rows = [[cell.strip(BLANKS) or 'x' for cell in row] for row in rows]
    rows[0][-1] = rows[0][-1] + 'x'  # not empty throughout, as the cell after a trailing separator is
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    end = draw(st.sampled_from(['\n', '\r\n', '\r']))
    text = written([names, *rows], separator, end, quoting, draw(st.randoms(use_true_random=False)))
    lines = text.split(end)
    for place in draw(st.lists(st.integers(0, len(lines) - 1), max_size=3)):
        lines.insert(place, draw(st.sampled_from(['', '  '])))  # blank lines
    text = end.join(lines)
    if draw(st.booleans()):
        text = text.rstrip(end)
    content = (b'\xef\xbb\xbf' if draw(st.booleans()) else b'') + text.encode()
    return names, rows, content, draw(st.sampled_from([*PACKERS, '.zip']))


def write(path, content, suffix=''):
    path = Path(f'{path}{suffix}')
    if suffix == '.zip':
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('__MACOSX/._table.csv', b'\0')
            archive.writestr('README.txt', 'read me')
            archive.writestr('folder/table.csv', content)
    else:
        path.write_bytes(PACKERS[suffix](content))
    return path


@pytest.fixture(params=[40, 2**24], ids=['small-blocks', 'one-block'])
def _blocks(request, monkeypatch):
    """Small tables are read like large ones, of which the first lines alone are looked at beforehand."""
    monkeypatch.setattr(Blocks, 'BLOCK', request.param)
    monkeypatch.setattr(Delimited, 'HEAD_ROWS', 1)
    monkeypatch.setattr(Sample, 'SIZE', 40)


@seed(SEED)
@EXAMPLES
@given(tables())
@pytest.mark.usefixtures('_blocks')
def test_what_was_written_is_read(table):
    names, rows, content, suffix = table
    with tempfile.TemporaryDirectory() as place:
        opened = open_table(write(Path(place) / 'a.csv', content, suffix))
        assert opened.names == names
        columns = opened.read()
        found = [list(row) for row in zip(*columns, strict=True)]
        assert found == [[cell.strip(BLANKS) for cell in row] for row in rows]
        lines = re.split('\r\n|\r|\n', content.decode('utf-8-sig'))
        number = int(re.search(r'line ([\d,]+)$', opened.where(len(rows) - 1))[1].replace(',', ''))
        first = [cell for cell in rows[-1] if cell.strip(BLANKS)][:1]
        assert not first or first[0].replace('"', '""') in lines[number - 1] or first[0] in lines[number - 1]
        assert not any(line.strip() for line in lines[number:])


def by_csv(line, separator):
    """The cells of a line by the csv module, which knows no blanks but spaces, and these not behind a closing quote."""
    def cells_of(line):
        return next(csv.reader([line], delimiter=separator, strict=True, skipinitialspace=True))

    try:
        cells = cells_of(line)
        if not any(cell.strip(BLANKS).startswith('"') for cell in cells):
            return cells
    except csv.Error:
        pass
    blanks, between = re.escape(BLANKS.replace(separator, '')), re.escape(separator)
    line = re.sub(f'"[{blanks}]+(?={between}|$)', '"', re.sub(f'(^|{between})[{blanks}]+(?=")', r'\1', line))
    return cells_of(line)


def honest_rows(content, separator, quotes):
    """The cells of each line with content, by the csv module or plainly; ValueError where there is no right reading."""
    text = content.decode('utf-8-sig')
    if '\0' in text:
        raise ValueError('NUL')
    rows = []
    for line in re.split('\r\n|\r|\n', text):
        if not line.strip(BLANKS if separator in ('', ' ') or not rows else BLANKS.replace(separator, '')):
            continue
        if separator == '':
            cells = by_csv(line, '\0')
        elif separator == ' ':
            cells = by_csv(line.strip(BLANKS), ' ')
        elif quotes and '"' in line and separator != '::':
            cells = by_csv(line, separator)
        else:
            cells = line.split(separator)
        rows.append([cell.strip(BLANKS) for cell in cells])
    return rows


NOISE = st.sampled_from([b'"', b'""', b',', b'\t', b'\n', b'\r', b'\r\n', b'\n\n', b'\0', b'\xff', b'x', b' ', b';',
                         b'|', '\u00a0'.encode(), '\u2028'.encode(), b'"\n', b',,', b'::', b'\x0b', b'\x1f'])


@st.composite
def damaged_tables(draw):
    separator = draw(st.sampled_from([',', ';', '|', '\t', '::', ' ']))
    words = ['a', 'b7', 'cats', '12', '3.5', 'é', 'x y' if separator != ' ' else 'xy', '"q"', '"r "" s"']
    rows = draw(st.lists(st.lists(st.sampled_from(words), min_size=3, max_size=3), min_size=1, max_size=12))
    content = '\n'.join(separator.join(row) for row in [['user', 'item', 'title'], *rows, ['']]).encode()
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(content)))
        kind = draw(st.sampled_from(['insert', 'delete', 'replace', 'cut', 'double']))
        noise = draw(NOISE)
        more = draw(st.integers(1, 6))
        content = {'insert': content[:at] + noise + content[at:], 'delete': content[:at] + content[at + more:],
                   'replace': content[:at] + noise + content[at + 1:], 'cut': content[:at],
                   'double': content[:at] + content[max(0, at - more):]}[kind]
    return content


@seed(SEED)
@EXAMPLES
@given(damaged_tables(), st.booleans())
@pytest.mark.usefixtures('_blocks')
def test_damaged_tables_are_read_rightly_or_refused(content, header):
    with tempfile.TemporaryDirectory() as place:
        path = write(Path(place) / 'a.csv', content)
        try:
            table = open_table(path, header=header)
            rows = [list(row) for row in zip(*table.read(), strict=True)]
        except InputError as error:
            told = str(error).replace(place, '')
            assert '\n' not in told
            assert 30 < len(told) < 500
            event('refused')
            return
    if table.form != 'csv':
        return  # a row of whole numbers and a shorter one can be lists
    first = content.decode('utf-8-sig').lstrip('\n').split('\n')[0]
    quoted = table.separator != '\t' or all(re.fullmatch('".*"', cell) for cell in first.split('\t'))
    expected = honest_rows(content, table.separator, quoted)
    names, *expected = expected if header else [None, *expected]
    assert not header or [cell for cell in names if cell] == [cell for cell in table.names if cell]
    width = table.width
    assert [row[:width] + [''] * (width - len(row)) for row in expected] == rows
    assert not any(cell for row in expected for cell in row[width:]), 'nothing is left out but empty cells'
    event('read')
