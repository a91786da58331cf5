"""Ids that are read as they are written, but may have been meant otherwise: refused where they cannot be right, else
said in the log, never changed."""
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from Formats.Words import listed, shown
from Utils.Errors import InputError

MISSING = ('nan', 'NaN', 'NAN', 'NA', 'N/A', '<NA>', 'NaT', 'null', 'NULL', 'Null', 'None', 'none', '\\N', '?')
NUMERIC = r'^[+-]?[0-9]+\.?[0-9]*([eE][+-]?[0-9]+)?$'
ROUNDED = r'^[0-9]\.[0-9]+E\+[0-9]+$|^[0-9](\.[0-9]+)?e\+(1[6-9]|[2-9][0-9])$'  # a spreadsheet's, and large floats
SHORT = r'^[0-9](\.[0-9]+)?e\+[0-9]+$'  # as R writes 100000
TOTAL = re.compile(r'\W*((grand )?totals?|sum|count|[0-9]+ rows?( .*)?)\W*', re.IGNORECASE)
FEW = 10  # rows from which on a column may be said to count them


def check_ids(ids, numbers, side, where):
    """Yields a sentence for each oddity; InputError. ids: an arrow array of distinct text; numbers: each row's among
    them; side: user or item; where: row -> its file and line."""
    def first(wanted):
        number = pc.index(ids, wanted).as_py()
        return f'{where(int((numbers == number).argmax()))} has {shown(wanted.as_py())} for the id of {_a(side)}'

    missing = pc.is_in(ids, pa.array(MISSING))
    real, words = pc.filter(ids, pc.invert(missing)), pc.filter(ids, missing)
    numeric = len(real) > 0 and pc.all(pc.match_substring_regex(real, NUMERIC)).as_py()
    if len(words) and numeric:
        raise InputError(f'{first(words[0])}, where all others are numbers: it seems to be missing. Take out '
                         'such rows.')
    if numeric and len(rounded := pc.filter(real, pc.match_substring_regex(real, ROUNDED))):
        raise InputError(f'{first(rounded[0])}: a spreadsheet or a floating-point number has rounded it. Write the '
                         'table anew, with ids as text.')
    if side == 'user':
        _refuse_counter(ids, numbers, where)
    _refuse_total(ids, numbers, side, where)
    if len(words):
        yield (f'{listed(list(map(shown, words.to_pylist())))} is taken for the id of {_a(side)} like any other, not '
               'for a missing one')
    if numeric and pc.sum(pc.cast(pc.starts_with(real, '-'), pa.int64())).as_py() == 1 and '-1' in real.to_pylist():
        yield f"'-1' is taken for the id of {_a(side)} like any other, not for a missing one"
    if numeric and len(short := pc.filter(real, pc.match_substring_regex(real, SHORT))):
        yield (f'{len(short):,} {side}s have ids like {shown(short[0].as_py())}, as R writes large whole numbers: '
               'other files may have them written out')
    quoted = pc.filter(ids, pc.match_substring_regex(ids, '^".*"$'))
    if len(quoted):
        yield (f'{len(quoted):,} {side}s have quotes at both ends of their ids, such as {shown(quoted[0].as_py())}: '
               'they are text here and belong to the ids')
    if len(real) and pc.all(pc.match_substring_regex(real, '^[0-9]+\\.0$')).as_py():
        yield (f'all {side}s have ids like {shown(real[0].as_py())}, as pandas writes whole numbers when some are '
               'missing: other files may have them without .0')
    wide = pc.filter(ids, pc.invert(pc.string_is_ascii(ids)))
    alike = len(wide) - len(pc.unique(pc.utf8_normalize(wide, 'NFC')))
    if alike:
        yield f'{alike:,} {side}s have an id that differs from another in the encoding of accents alone'


def _refuse_counter(ids, numbers, where):
    """InputError where the users' ids only count the rows, as the index of pandas and the row names of R do."""
    if len(ids) != len(numbers) or len(ids) < FEW or ids[0].as_py() not in ('0', '1'):
        return
    if ids.equals(pc.cast(pa.array(np.arange(len(ids)) + int(ids[0].as_py())), pa.string())):
        raise InputError(f'{where(0)} and those after it have {ids[0]}, {ids[1]}, {ids[2]} and so on for the ids of '
                         'users, which only count the rows: name another column with --user.')


def _refuse_total(ids, numbers, side, where):
    """InputError where the last row seems to sum up those above: its id is such a word, nowhere else to be seen, among
    ids with digits."""
    last = int(numbers[-1])
    if (len(ids) > 1 and TOTAL.fullmatch(ids[last].as_py()) and np.count_nonzero(numbers == last) == 1
            and pc.sum(pc.cast(pc.match_substring_regex(ids, '[0-9]'), pa.int64())).as_py() >= len(ids) - 1):
        raise InputError(f'{where(len(numbers) - 1)} seems to sum up the rows above it ({shown(ids[last].as_py())} for '
                         f'the id of {_a(side)}): take it out.')


def _a(side):
    return f'{"an" if side == "item" else "a"} {side}'
