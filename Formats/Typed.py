"""Values that have a type, of JSON and Parquet files, as the text that a delimited file would have in their place."""
import pyarrow as pa
import pyarrow.compute as pc

from Formats.Values import BadValueError, one_array

EXACT = 2**53  # floating-point numbers from here on may stand for another whole number than was meant
ROUNDED = 'is a floating-point number too large to be exact: ids are written as text or as whole numbers'


class NestedError(Exception):
    """A value that is a list or has parts, where one text or number was expected."""


def text_of(value, is_id):
    """A value of JSON as text, '' where there is none; whole floating-point numbers without the point. Raises
    NestedError, or ValueError where an id may have been rounded."""
    if isinstance(value, str):
        return value
    if value is None or value != value:
        return ''
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, float):
        raise NestedError
    if abs(value) >= EXACT and is_id:
        raise ValueError(ROUNDED)
    return str(int(value)) if value % 1 == 0 and abs(value) < EXACT else repr(value)


def texts_of(array, is_id):
    """An arrow array of any type as text in the same way, null where there is no value. Raises NestedError, or
    BadValueError where an id may have been rounded."""
    array = one_array(array)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if pa.types.is_nested(kind):
        raise NestedError
    if not pa.types.is_floating(kind):
        return array.cast(pa.string())
    array = array.cast(pa.float64())
    array = pc.if_else(pc.is_nan(array), pa.scalar(None, pa.float64()), array)
    large = pc.greater_equal(pc.abs(array), float(EXACT))
    if is_id and pc.any(large).as_py():
        raise BadValueError(pc.fill_null(large, False).index(True).as_py(), ROUNDED)
    whole = pc.and_(pc.equal(pc.floor(array), array), pc.invert(large))
    digits = pc.if_else(whole, array, 0.0).cast(pa.int64()).cast(pa.string())
    return pc.if_else(whole, digits, array.cast(pa.string()))
