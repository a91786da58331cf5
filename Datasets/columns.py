"""Which column of a table is the user, item, rating, time and split label: by flag, else by its name."""
import re

from Formats.Cells import BLANKS
from Formats.Values import NUMBER
from Formats.Words import listed, shown
from Utils.Errors import InputError, suggestion

KNOWN_COLUMNS = {  # the names that each part goes by, tried in this order
    'user': ('user', 'user_id', 'userid', 'uid', 'reviewerid'),
    'item': ('item', 'item_id', 'itemid', 'iid', 'parent_asin', 'asin', 'movieid'),
    'rating': ('rating', 'overall', 'stars', 'score'),
    'time': ('timestamp', 'time', 'unixreviewtime', 'date', 'datetime'),
    'label': ('x_label',)}
MORE_COLUMNS = {  # where none of these is there; compared without blanks, - and _
    'user': ('userid', 'customerid', 'reviewerid', 'visitorid', 'memberid', 'username', 'customer', 'reviewer'),
    'item': ('itemid', 'productid', 'movieid', 'trackid', 'songid', 'bookid', 'videoid', 'articleid', 'artistid',
             'businessid', 'newsid', 'gameid', 'isbn', 'sku', 'product', 'movie')}
SPLIT_COLUMNS = ('split', 'set', 'subset', 'fold', 'partition', 'x_split')  # likely labels, which have to be asked for
DIGIT = re.compile('[0-9]')
UNWANTED = 'none'  # in the place of a column's name: the part is not read
KNOWN = {name for names in KNOWN_COLUMNS.values() for name in names} | {
    name for names in MORE_COLUMNS.values() for name in names}


def bare(name):
    """A header's cell as it is compared with known names."""
    return name.strip(BLANKS + '"\'#').lower()


def by_number(named):
    """Whether columns are named by number, as in a file without a header; InputError where only some are."""
    wanted = {part: name for part, name in named.items() if name != UNWANTED}
    numbers = [name.isdecimal() for name in wanted.values()]
    if any(numbers) and not (all(numbers) and {'user', 'item'} <= set(wanted)):
        raise InputError('Columns are given by number where the file has no header: then --user and --item must '
                         'both be given, and every column by its number, from 1.')
    return any(numbers)


def refuse_header(table, positions):
    """InputError where the first row of a table that was opened as one without header seems to be one all the same.

    positions: part -> position of its column.
    """
    first, rows = table.head[0], table.head[1:]
    columns = [[row[place] for row in rows] for place in range(table.width)]
    numbers = [place for place, cells in enumerate(columns)
               if first[place] and not NUMBER.fullmatch(first[place]) and all(map(NUMBER.fullmatch, cells))]
    digits = [place for place, cells in enumerate(columns)
              if first[place] and not DIGIT.search(first[place]) and all(map(DIGIT.search, cells))]
    known = [place for place in positions.values() if bare(first[place]) in KNOWN]
    if known or ((numbers or digits) and len(rows) > 1):
        raise InputError(f'{table.path} has a header ({listed(first)}): give the columns by name, or say --header no '
                         'if the first line is a row.')
    if table.width > 2 and first == [str(number) for number in range(table.width)]:
        raise InputError(f'{table.path} begins with the line {", ".join(first[:12])}, which may be a row or the header '
                         'that pandas writes for columns without names: say --header no or --header yes.')


def refuse_second_header(table):
    """InputError where the row below the header has words in every column that has numbers in the rows after it, as
    tables with a line of units or of types have."""
    if not table.header or len(table.head) < 4:
        return
    first, rows = table.head[0], table.head[1:]
    numeric = [place for place in range(table.width) if all(NUMBER.fullmatch(row[place]) for row in rows)]
    if numeric and all(first[place] and not DIGIT.search(first[place]) for place in numeric):
        raise InputError(f'{table.path}: the row below the header seems to be one more ({listed(first)}): take it out.')


def choose(table, named, wanted):
    """Part -> position of its column, for the wanted parts that there are; part -> what is to be said of the choice.

    named: part -> name, number from 1, or UNWANTED.
    """
    positions, told = {}, {}
    for part in wanted:
        name = named.get(part)
        if name == UNWANTED:
            continue
        if name is not None:
            positions[part], others = _named(table, part, name), []
        else:
            found = _known(table, part) if table.names else []
            if not found:
                if part in ('user', 'item'):
                    raise InputError(_unknown(table, part))
                continue
            positions[part], *others = found
        told[part] = _told(table, part, positions[part], others)
    places = list(positions.values())
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice is not None:
        parts = ' and '.join(part for part, place in positions.items() if place == twice)
        raise InputError(f'{table.path}: {table.column(twice)} was given two meanings, {parts}.')
    return positions, told


def _named(table, part, name):
    if table.names is not None:
        name = name.partition(':')[0] if table.form == 'atomic' else name
        for compared in (str, str.lower, bare):
            found = [place for place, cell in enumerate(table.names) if compared(cell) == compared(name)]
            if len(found) > 1:
                raise InputError(f'{table.path} has {len(found)} columns {shown(name)}: rename all but one.')
            if found:
                return found[0]
        if not name.isdecimal():
            raise InputError(f'{table.path} has no column {shown(name)}. {suggestion(name, table.names)}Its columns: '
                             f'{listed(table.names)}.')
    elif not name.isdecimal():
        raise InputError(f'{table.path} was said to have no header: --{part} takes the number of a column, from 1.')
    if not 0 < int(name) <= table.width:
        raise InputError(f'{table.path} has {table.width} columns, numbered from 1 to {table.width}; --{part} got '
                         + name + (f' (its names: {listed(table.names)}).' if table.names else '.'))
    return int(name) - 1


def _known(table, part):
    """The positions of all columns that may be this part, the one to take first."""
    names = [bare(name) for name in table.names]
    found = [names.index(name) for name in KNOWN_COLUMNS[part] if name in names]
    if not found:
        plain = [name.replace('_', '').replace('-', '').replace(' ', '') for name in names]
        found = [plain.index(name) for name in MORE_COLUMNS.get(part, ()) if name in plain]
        names = plain
    if found and names.count(names[found[0]]) > 1:
        raise InputError(f'{table.path} has {names.count(names[found[0]])} columns {shown(names[found[0]])}: rename '
                         f'all but one, or name another with --{part}.')
    return list(dict.fromkeys(found))


def _unknown(table, part):
    """Why a table has no column for the part, and the way out."""
    first = table.names or []
    if table.names and any(NUMBER.fullmatch(name) for name in first):
        return (f'{table.path} seems to have no header: its first line is {shown(table.separator.join(first))}. Give '
                'the columns by number, such as --user 1 --item 2' + (
                    '; lists (user item item ...) are read with --format lists.' if table.separator == ' ' else '.'))
    return (f'{table.path} has no column that is known to name the {part}; its columns: {listed(first)} '
            f'({table.told}). Give the one with --{part}, by number (from 1) where the file has no header.')


def _told(table, part, place, others):
    def name(place):
        return shown(table.names[place]) if table.names and table.names[place] else f'column {place + 1}'
    also = f' (there is also {", ".join(map(name, others))}: --{part} takes another)' if others else ''
    return f'{name(place)}{also}'
