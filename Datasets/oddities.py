"""Ids that are read as they are written, but may have been meant otherwise: said in the log, never changed."""
import pyarrow as pa
import pyarrow.compute as pc

from Formats.Words import listed, shown

MISSING = ('nan', 'NaN', 'NAN', 'NA', 'N/A', '<NA>', 'NaT', 'null', 'NULL', 'Null', 'None', 'none', '\\N', '?')


def oddities(ids, side):
    """Sentences on ids (an arrow array of distinct text); side: user or item."""
    words = pc.filter(ids, pc.is_in(ids, pa.array(MISSING))).to_pylist()
    if words:
        yield f'{listed(list(map(shown, words)))} is taken for the id of {_a(side)} like any other, not for a missing one'
    quoted = pc.filter(ids, pc.match_substring_regex(ids, '^".*"$'))
    if len(quoted):
        yield (f'{len(quoted):,} {side}s have quotes at both ends of their ids, such as {shown(quoted[0].as_py())}: they '
               'are text here and belong to the ids')
    if len(ids) and pc.all(pc.match_substring_regex(ids, '^[0-9]+\\.0$')).as_py():
        yield (f'all {side}s have ids like {shown(ids[0].as_py())}, as pandas writes whole numbers when some are missing: '
               'other files may have them without .0')
    wide = pc.filter(ids, pc.invert(pc.string_is_ascii(ids)))
    alike = len(wide) - len(pc.unique(pc.utf8_normalize(wide, 'NFC')))
    if alike:
        yield f'{alike:,} {side}s have an id that differs from another in the encoding of accents alone'


def _a(side):
    return f'{"an" if side == "item" else "a"} {side}'
