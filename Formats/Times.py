"""Columns of text -> times as numbers that can be compared: Unix times of one unit, dates, or a form that was given."""
import re
from datetime import datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from Formats.Values import EMPTY, NUMBER, BadValueError, distinct, finite_numbers, one_array, trimmed
from Formats.Words import shown

UNITS = ('plain numbers', 'Unix seconds', 'Unix milliseconds', 'Unix microseconds', 'Unix nanoseconds')
FROM = (1e8, 1e11, 1e14, 1e17)  # the least of each Unix unit, which is in 1973; what is smaller may be of any
DATE = re.compile(r'([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})'
                  r'(?:[ T]+([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?)?'
                  r' ?(?:Z|UTC|GMT|([+-][0-9]{2}):?([0-9]{2})?)?', re.IGNORECASE)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
SECOND = timedelta(seconds=1)


class Times:
    """Reads one block after the other; the first cell says whether they are numbers or dates. Numbers stay as they are,
    but must be of one unit; dates become seconds since 1970, in UTC where they name no zone."""

    def __init__(self, time_format=None):
        self.time_format, self.kind, self.unit = time_format, None, 0
        self.early = 0  # numbers that are too small for their unit, unless they are of before 1973

    def add(self, array):
        array = one_array(array)
        if self.kind is None:
            first = trimmed(array[:1])[0].as_py()
            self.kind = ('format' if self.time_format else
                         'number' if not first or NUMBER.fullmatch(first) else 'date')
        if self.kind == 'number':
            return self._of_one_unit(finite_numbers(array))
        seconds = _dates_at_once(array) if self.kind == 'date' else None
        return _dates_one_by_one(array, self.time_format) if seconds is None else seconds

    def _of_one_unit(self, numbers):
        sizes = np.abs(numbers)
        lowest, highest = np.searchsorted(FROM, [sizes.min(), sizes.max()], 'right')
        self.early += int((sizes < FROM[0]).sum()) if lowest == 0 else 0
        if lowest == highest and highest in (0, self.unit):
            return numbers
        units = np.searchsorted(FROM, sizes, 'right')
        self.unit = self.unit or int(units[(units > 0).argmax()])
        other = (units > 0) & (units != self.unit)
        if other.any():
            place = other.argmax()
            raise BadValueError(place, f'{numbers[place]:.0f} seems to be in {UNITS[units[place]]}, but those before '
                                       f'it in {UNITS[self.unit]}')
        return numbers

    def told(self):
        unit = UNITS[self.unit]
        if self.unit and self.early:
            unit += f', but {self.early:,} of them below {FROM[0]:.0f}, so in or before 1973'
        return {'number': unit, 'date': 'dates', 'format': f'as {self.time_format}', None: ''}[self.kind]


def _dates_at_once(array):
    """Dates all with or all without a zone -> seconds since 1970; None where they are not so."""
    for zone in (None, 'UTC'):
        for unit, per_microsecond in (('us', 1), ('ns', 1000)):
            try:
                ticks = pc.cast(pc.cast(array, pa.timestamp(unit, zone)), pa.int64())
            except pa.ArrowInvalid:
                continue
            if not ticks.null_count:
                return ticks.to_numpy() // per_microsecond / 1e6
    return None


def _dates_one_by_one(array, time_format):
    places, values = distinct(array)
    places = places.to_numpy(zero_copy_only=False)
    words = values.to_pylist()
    seconds = np.array([_formatted(word, time_format) if time_format else _iso(word) for word in words])
    wrong = np.array([not word for word in words])
    wrong = wrong if wrong.any() else np.isnan(seconds)
    if wrong.any():
        place = int(wrong[places].argmax())
        word = words[places[place]]
        expected = (f'a time as --time_format {time_format} has it' if time_format else
                    'a number or a date like 2024-03-01 12:00:00 (--time_format names another form, such as %d/%m/%Y)')
        raise BadValueError(place, f'{shown(word)} is not {expected}' if word else EMPTY)
    return seconds[places]


def _iso(word):
    match = DATE.fullmatch(word)
    if not match:
        return np.nan
    *fields, fraction, hours, minutes = match.groups()
    try:
        moment = datetime(*(int(number or 0) for number in fields), tzinfo=timezone.utc)
    except ValueError:
        return np.nan
    zone = 0 if hours is None else int(hours) * 60 + int(hours[0] + (minutes or '0'))
    microseconds = int((fraction or '0').ljust(6, '0')[:6])
    return (((moment - EPOCH) // SECOND - 60 * zone) * 10**6 + microseconds) / 1e6


def _formatted(word, time_format):
    try:
        moment = datetime.strptime(word, time_format)
    except ValueError:
        return np.nan
    moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return (moment - EPOCH) // (SECOND / 10**6) / 1e6
