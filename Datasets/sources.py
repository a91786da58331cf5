"""Which files hold the interactions, and how they are to be read: the flags of prepare.py that say so."""
import re
from pathlib import Path

from Datasets.columns import UNWANTED
from Datasets.interactions import TEST, TRAIN, VAL
from Datasets.raw import Reading
from Formats.Tables import FORMS, SEPARATORS
from Utils.Errors import InputError

COLUMN_FLAGS = ('user', 'item', 'rating', 'time', 'label')
FILES = {'train': (TRAIN, 'train|trn'), 'val': (VAL, 'val|valid|validation|dev'), 'test': (TEST, 'test|tst')}


def add_flags(parser):
    parser.add_argument('file', nargs='*', metavar='FILE',
                        help='the interactions; of several files each is the split that its name says (x.train.inter, '
                             'x.valid.inter, x.test.inter)')
    for name in FILES:
        parser.add_argument(f'--{name}', metavar='FILE', help=f'the interactions of the {name} split, in place of FILE')
    parser.add_argument('--format', choices=FORMS,
                        help='default: told from the content; csv: text with any separator, lists: user item item ...')
    parser.add_argument('--separator', choices=SEPARATORS, help='between columns; default: told from the first line')
    parser.add_argument('--header', choices=('yes', 'no'),
                        help='whether the first line names the columns; default: yes, unless they are given by number')
    for part in COLUMN_FLAGS[:-1]:
        parser.add_argument(f'--{part}', metavar='COL',
                            help='column by name, or by number (from 1) without a header; none: do not read it')
    parser.add_argument('--label', metavar='COL',
                        help='column with the split of each interaction: 0 1 2, or train valid test')
    parser.add_argument('--time_format', metavar='FORM', help='of dates that are not ISO, such as %%d/%%m/%%Y')


def source_files(arguments):
    """The file of the interactions, or a file per split by its number."""
    given = {part: Path(path) for name, (part, _) in FILES.items() if (path := getattr(arguments, name))}
    files = [Path(name) for name in arguments.file]
    if len(files) == 1 and not given:
        return files[0]
    if files and given:
        raise InputError('Give the interactions either as FILE or as --train, --val and --test.')
    for path in files:
        parts = [part for part, words in FILES.values()
                 if re.search(rf'(^|[^a-z])({words})([^a-z]|$)', path.name.lower())]
        if len(parts) != 1 or parts[0] in given:
            raise InputError(f'Of several files each is one split and has train, valid or test in its name, but {path} '
                             f'{"is a second one" if parts else "has not"}: give them with --train, --val and --test.')
        given[parts[0]] = path
    if not {TRAIN, TEST} <= set(given):
        raise InputError('Expected were a FILE of interactions, or --train FILE and --test FILE (and --val FILE).')
    if arguments.split or arguments.label:
        raise InputError('The files are the split: leave out --split and --label, or give one FILE.')
    return dict(sorted(given.items()))


def reading_of(arguments, source):
    """How the files are to be read."""
    how = 'files' if isinstance(source, dict) else arguments.split
    named = {part: getattr(arguments, part) for part in COLUMN_FLAGS if getattr(arguments, part) is not None}
    if arguments.min_rating is None:
        named['rating'] = UNWANTED
    if how not in (None, 'label'):
        named['label'] = UNWANTED
    header = None if arguments.header is None else arguments.header == 'yes'
    return Reading(arguments.format, SEPARATORS.get(arguments.separator), header,
                   {part: name for part, name in named.items() if name != UNWANTED},
                   tuple(part for part in COLUMN_FLAGS if named.get(part) != UNWANTED),
                   tuple(part for part in COLUMN_FLAGS if part != 'time' or how in ('time', 'leave-one-out')),
                   arguments.time_format)
