"""Parquet files as tables."""
import io
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet

from Formats.Opening import unpacked
from Formats.Table import HEAD_ROWS, Block, Table
from Formats.Typed import NestedError, texts_of
from Formats.Values import BadValueError
from Formats.Words import shown
from Utils.Errors import InputError

SIGN = b'PAR1'
AT_ONCE = 2**19  # rows


@contextmanager
def _opened(path):
    with unpacked(path) as stream:
        content = stream if stream.seekable() else io.BytesIO(stream.read())
        yield pa.parquet.ParquetFile(pa.PythonFile(content, 'r'))


def parquet_table(path):
    with _opened(path) as file:
        names, rows = file.schema_arrow.names, file.metadata.num_rows
        first = next(file.iter_batches(HEAD_ROWS), None)
    head = [] if first is None else [['' if value is None else str(value) for value in row.values()]
                                     for row in first.to_pylist()]

    def opener(positions, encoded):
        done = 0
        with _opened(path) as file:
            schema = file.schema_arrow
            for batch in file.iter_batches(AT_ONCE, columns=[names[position] for position in positions]):
                columns = []
                for position in positions:
                    try:
                        columns.append(texts_of(batch.column(names[position]), position in encoded))
                    except NestedError:
                        raise InputError(f'{path}: column {shown(names[position])} holds {schema.field(position).type}'
                                         ', but one text or number in each row was expected.') from None
                    except BadValueError as bad:
                        raise InputError(f'{path}: row {done + bad.place + 1:,}, column {shown(names[position])} '
                                         f'{bad}.') from bad
                yield Block(columns, batch.num_rows, done + 1)
                done += batch.num_rows
        if done != rows:
            raise InputError(f'{path} has {done:,} rows where it says {rows:,}: it is damaged.')

    return Table(path, 'parquet', names, len(names), head, 'Parquet', opener, 'row')
