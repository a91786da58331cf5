"""Columns of text -> ids and numbers; `BadValueError` has the place of what cannot be read as such."""
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from Formats.Cells import BLANKS
from Formats.Words import shown

AT_ONCE = 8  # blocks whose ids are numbered together
NUMBER = re.compile(r'[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|[+-]?(nan|inf|infinity)', re.IGNORECASE)
EMPTY = 'is empty'  # the fault of a cell with nothing in it
NOTHING = pa.scalar(None, pa.string())


class BadValueError(Exception):
    """A cell that cannot be read as what it should be. place: its row among those that were given."""

    def __init__(self, place, fault):
        super().__init__(fault)
        self.place = int(place)


def one_array(array):
    """Text or a dictionary of text in one piece."""
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def trimmed(array):
    """Text without the blanks at both ends; '' for a missing cell."""
    array = one_array(array)
    if pa.types.is_dictionary(array.type):
        array = array.cast(pa.string())
    return pc.fill_null(pc.utf8_trim(array, BLANKS), '')


def distinct(array):
    """A column -> where each row's value is (int32) among the distinct ones, and these, without blanks at the ends."""
    array = one_array(array)
    if not pa.types.is_dictionary(array.type):
        array = pc.fill_null(array, '').dictionary_encode()
    values, places = trimmed(array.dictionary), array.indices
    if not values.equals(array.dictionary):  # some may have become equal
        again = values.dictionary_encode()
        values, places = again.dictionary, again.indices.take(places)
    return places, values


class Ids:
    """Ids as text, numbered in the order in which they come."""

    def __init__(self):
        self.known, self.waiting, self.numbers = pa.array([], pa.string()), [], []

    def add(self, array):
        places, values = distinct(array)
        for fault, wrong in (
                (EMPTY, pc.equal(values, '')),
                ('the id holds a line break or a NUL character', pc.match_substring_regex(values, '[\\x00\\r\\n]'))):
            if pc.any(wrong).as_py():
                raise BadValueError(pc.take(wrong, places).index(True).as_py(), fault)
        self.waiting.append(pa.DictionaryArray.from_arrays(places, values))
        if len(self.waiting) == AT_ONCE:
            self._number()

    def _number(self):
        before = pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), self.known)
        chunks = pa.chunked_array([before, *self.waiting]).unify_dictionaries().chunks
        self.numbers += [chunk.indices.to_numpy(zero_copy_only=False) for chunk in chunks[1:]]
        self.known, self.waiting = chunks[0].dictionary, []

    def result(self):
        """The number of each row's id (int32), and the ids by their numbers."""
        self._number()
        numbers, self.numbers = self.numbers, []
        return np.concatenate([np.empty(0, np.int32), *numbers]), self.known


def numbers_of(array):
    """Text -> float64 with NaN for empty cells; BadValueError for what is not a number."""
    array = one_array(array)
    if pa.types.is_dictionary(array.type):
        array = array.cast(pa.string())
    try:
        return pc.cast(array, pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        text = trimmed(array)
    try:
        return pc.cast(pc.if_else(pc.equal(text, ''), NOTHING, text), pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:  # one at a time
        numbers = np.full(len(array), np.nan)
    for place, word in enumerate(text.to_pylist()):
        if word:
            if not NUMBER.fullmatch(word):
                raise BadValueError(place, f'{shown(word)} is not a number')
            numbers[place] = float(word)
    return numbers


def finite_numbers(array):
    """Text -> float64; BadValueError also where a cell is empty, or NaN or infinite."""
    numbers = numbers_of(array)
    if not np.isfinite(numbers).all():
        place = int(np.isfinite(numbers).argmin())
        text = trimmed(one_array(array)[place:place + 1])[0].as_py()
        raise BadValueError(place, f'{shown(text)} is not a finite number' if text else EMPTY)
    return numbers
