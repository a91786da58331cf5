"""Lists of items per user as tables of pairs: LightGCN's text (user item item ...), and JSON ({"user": [items]})."""
import json

import numpy as np
import pyarrow as pa

from Formats.Blocks import check_text, lines_of
from Formats.Opening import unpacked
from Formats.Sample import BOM
from Formats.Table import HEAD_ROWS, Block, Table
from Formats.Typed import NestedError, text_of
from Formats.Words import shown
from Utils.Errors import InputError

NAMES = ['user', 'item']


def seem_lists(lines):
    """Whether the first lines are lists: whole numbers of which the first is another on each line, and not equally many
    on all of them, as they would be in a table."""
    rows = [line.text.split() for line in lines]
    return (seem_numbers(lines) and len({len(row) for row in rows}) > 1 and len({row[0] for row in rows}) == len(rows))


def seem_numbers(lines):
    """Whether the lines are whole numbers with spaces between them."""
    return all(word.isdecimal() and word.isascii() for line in lines for word in line.text.split())


def list_table(path, lines, sure):
    """sure: it was said that these are lists, so that a user may have several lines."""
    head = [[words[0], item] for line in lines[:HEAD_ROWS] for words in [line.text.split()] for item in words[1:]]

    notes = []

    def opener(positions, encoded):
        with unpacked(path) as stream:
            content = stream.read().removeprefix(BOM)
        check_text(path, content, 1)
        pairs, numbers, seen, empty = ([], []), [], {}, 0
        for number, line in enumerate(lines_of(content.decode()), 1):
            user, *items = line.split() or ['']
            if not user:
                continue
            if not sure and seen.setdefault(user, number) != number:
                raise InputError(f'{path}: line {number:,} begins with {shown(user)} as line {seen[user]:,} does, but '
                                 'in lists (user item item ...) each user has one line: say --format lists if these '
                                 'are lists all the same; if it is a table, its lines have not equally many cells.')
            empty += not items
            pairs[0].extend([user] * len(items))
            pairs[1].extend(items)
            numbers.extend([number] * len(items))
        notes[:] = [f'{empty:,} users without items'] if empty else []
        columns = [pa.array(pairs[position], pa.string()) for position in positions]
        yield Block(columns, len(numbers), 1, np.array(numbers, np.int64))

    return Table(path, 'lists', NAMES, 2, head[:HEAD_ROWS], 'a list of items per line (user item item ...)', opener,
                 notes=notes)


def users_table(path, lists):
    """lists: what a JSON file holds, {user: [items]}."""
    pairs, numbers = ([], []), []
    for number, (user, items) in enumerate(lists.items(), 1):
        for item in items:
            try:
                text = '' if isinstance(item, bool) else text_of(item, is_id=True)
                text.encode()
            except (NestedError, ValueError):
                text = ''
            if not text:
                raise InputError(f'{path}: user {shown(user)} has {shown(json.dumps(item))} in the place of an item: '
                                 'an id, text or a whole number, was expected.')
            pairs[0].append(user)
            pairs[1].append(text)
            numbers.append(number)

    def opener(positions, encoded):
        yield Block([pa.array(pairs[position], pa.string()) for position in positions], len(numbers), 1,
                    np.array(numbers, np.int64))

    return Table(path, 'lists', NAMES, 2, [list(pair) for pair in zip(*pairs, strict=True)][:HEAD_ROWS],
                 'JSON, a list of items per user', opener, 'user')
