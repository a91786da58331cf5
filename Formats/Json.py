"""JSON as tables: an object per line, an array of objects, or an object of lists ({"user": [items]})."""
import io
import json
import re
from json import JSONDecodeError

import pyarrow as pa
import pyarrow.json

from Formats.Blocks import ENCODED, check_text, content_lines, lines_of, piece_by_piece
from Formats.Cells import BLANKS
from Formats.Lists import users_table
from Formats.Opening import unpacked
from Formats.Sample import BOM
from Formats.Table import HEAD_ROWS, Block, Table
from Formats.Typed import NestedError, text_of, texts_of
from Formats.Values import BadValueError
from Formats.Words import listed, shown
from Utils.Errors import InputError

ARROW = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
OTHER = 'expected were an object per line, an array of objects, or an object of lists ({"user": [items]})'


class TwiceError(ValueError):
    """A key that an object has twice."""


def _once_each(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise TwiceError(f'has the key {shown(next(key for key in keys if keys.count(key) > 1))} twice')
    return found


def seems_json(lines):
    return lines[0].text.lstrip(BLANKS).startswith(('{', '['))


def json_table(path, lines):
    """lines: the first ones, which say the form."""
    try:
        first = json.loads(lines[0].text, object_pairs_hook=_once_each)
    except (ValueError, RecursionError):
        first = None
    if isinstance(first, dict) and not (len(lines) == 1 and _of_lists(first)):
        return _lines_table(path, lines)
    if re.match(r"\s*\{\s*'", lines[0].text):
        raise InputError(f"{path}: line {lines[0].number:,} is an object of Python with single quotes, not JSON: write "
                         'it anew with json.dumps.')
    whole = _whole(path)
    if isinstance(whole, dict) and _of_lists(whole):
        if len({len(column) for column in whole.values()}) == 1 and {'user', 'item'} <= {
                re.sub('_?(id|idx|index)$', '', name.strip().lower()) for name in whole}:
            raise InputError(f'{path} is one JSON object of columns ({listed(list(whole))}); {OTHER}. pandas writes an '
                             "object per line with to_json(..., orient='records', lines=True).")
        return users_table(path, whole)
    if isinstance(whole, list) and whole and all(isinstance(entry, dict) for entry in whole):
        return _array_table(path, whole)
    if isinstance(whole, dict):
        raise InputError(f'{path} is one JSON object with the keys {listed(list(whole))}; {OTHER}.')
    found = f'with {shown(json.dumps(next((entry for entry in whole if not isinstance(entry, dict)), "")))} in it' \
        if whole else 'without anything in it'
    raise InputError(f'{path} is a JSON array {found}; {OTHER}.')


def _of_lists(found):
    return bool(found) and all(isinstance(items, list) for items in found.values())


def _whole(path):
    with unpacked(path) as stream:
        content = stream.read().removeprefix(BOM)
    check_text(path, content, 1)
    try:
        return json.loads(content, object_pairs_hook=_once_each)
    except JSONDecodeError as error:
        raise InputError(f'{path}: line {error.lineno:,} is not JSON ({error.msg} at character '
                         f'{error.colno:,}).') from error
    except TwiceError as error:
        raise InputError(f'{path} {error}.') from error
    except RecursionError as error:
        raise InputError(f'{path} is JSON nested too deeply; {OTHER}.') from error


def _names(objects):
    return list(dict.fromkeys(key for entry in objects for key in entry))


def _head(objects, names):
    return [[value if isinstance(value := entry.get(name, ''), str) else json.dumps(value) for name in names]
            for entry in objects[:HEAD_ROWS]]


def _column(path, objects, name, is_id, encoded, where):
    """Text of one key of some objects; where: index -> their place."""
    texts = []
    for place, entry in enumerate(objects):
        try:
            texts.append(text_of(entry.get(name), is_id))
        except NestedError:
            raise InputError(f'{path}: {where(place)}, column {shown(name)} holds {shown(json.dumps(entry[name]))}, '
                             'but one text or number was expected.') from None
        except ValueError as error:
            raise InputError(f'{path}: {where(place)}, column {shown(name)} {error}.') from error
    try:
        return pa.array(texts, pa.string()).cast(ENCODED if encoded else pa.string())
    except UnicodeEncodeError:
        place = next(place for place, text in enumerate(texts) if re.search('[\ud800-\udfff]', text))
        raise InputError(f'{path}: {where(place)}, column {shown(name)} holds half of a character (an escape such as '
                         r'\ud83d alone).') from None


def _array_table(path, objects):
    names = _names(objects)

    def opener(positions, encoded):
        yield Block([_column(path, objects, names[position], position in encoded, position in encoded,
                             lambda place: f'object {place + 1:,}') for position in positions], len(objects), 1)

    return Table(path, 'json', names, len(names), _head(objects, names), 'JSON, an array of objects', opener, 'object')


def _lines_table(path, lines):
    objects = [_object(path, line.text, line.number) for line in lines[:HEAD_ROWS]]
    names = _names(objects)
    kinds = [{type(entry[name]) for entry in objects if entry.get(name) is not None} or {str} for name in names]

    def kind_of(position):
        here = kinds[position]
        return ARROW.get(float if here == {int, float} else next(iter(here)) if len(here) == 1 else None)

    def opener(positions, encoded):
        schema = pa.schema([(names[position], kind_of(position) or pa.null()) for position in positions])

        def read(piece, first):
            check_text(path, piece, first)
            rows, numbers = content_lines(piece, first)
            table = None
            if all(kind_of(position) for position in positions):
                table = _at_once(piece, schema)
            if table is not None and table.num_rows == rows:
                block = Block([], rows, first, numbers)
                for position in positions:
                    try:
                        block.columns.append(texts_of(table.column(names[position]), position in encoded))
                    except BadValueError as bad:
                        raise InputError(f'{path}: line {block.line(bad.place):,}, column {shown(names[position])} '
                                         f'{bad}.') from bad
                return block
            return _one_by_one(path, piece, first, [names[position] for position in positions],
                               [position in encoded for position in positions])

        with unpacked(path) as stream:
            yield from piece_by_piece(stream, lines[0].start, lines[0].number, read)

    return Table(path, 'json', names, len(names), _head(objects, names), 'JSON, an object per line', opener)


def _at_once(piece, schema):
    try:
        return pa.json.read_json(io.BytesIO(piece), pa.json.ReadOptions(use_threads=False, block_size=len(piece) + 1),
                                 pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior='ignore'))
    except pa.ArrowInvalid:
        return None


def _one_by_one(path, piece, first, names, encoded):
    """The same object by object: where the values of a key differ in type, or there is a fault to be named."""
    objects, numbers = [], []
    for number, line in enumerate(lines_of(piece.decode()), first):
        if line.strip(BLANKS):
            objects.append(_object(path, line, number))
            numbers.append(number)
    columns = [_column(path, objects, name, is_id, is_id, lambda place: f'line {numbers[place]:,}')
               for name, is_id in zip(names, encoded, strict=True)]
    return Block(columns, len(objects), first, numbers)


def _object(path, line, number):
    try:
        found = json.loads(line, object_pairs_hook=_once_each)
    except JSONDecodeError as error:
        raise InputError(f'{path}: line {number:,} is not a JSON object, as others are ({error.msg} at character '
                         f'{error.colno:,}): {shown(line)}.') from error
    except TwiceError as error:
        raise InputError(f'{path}: line {number:,} {error}.') from error
    except RecursionError as error:
        raise InputError(f'{path}: line {number:,} is JSON nested too deeply.') from error
    if not isinstance(found, dict):
        raise InputError(f'{path}: line {number:,} is not a JSON object, as others are: {shown(line)}.')
    return found
