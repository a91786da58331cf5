"""Files opened as plain bytes, whatever they are packed in: .gz, .bz2, .xz, .zst, and the one table of a .zip."""
import bz2
import gzip
import io
import lzma
import re
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from Formats.Content import HEAD, refuse_by_name
from Formats.Words import listed
from Utils.Errors import InputError

PACKED = {b'\x1f\x8b': gzip.open, b'BZh': bz2.open, b'\xfd7zXZ\x00': lzma.open}  # first bytes -> opener
ZSTD, ZIP = b'\x28\xb5\x2f\xfd', b'PK\x03\x04'
NO_TABLE = re.compile(r'(readme|licen[cs]e|copying|notice|changelog|citation|thumbs\.db|desktop\.ini)|'
                      r'.*\.(md|pdf|html?|docx?|bib|png|jpe?g|py|ipynb|sh)$', re.IGNORECASE)
DAMAGE = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, gzip.BadGzipFile, NotImplementedError,
          pa.ArrowInvalid)


@contextmanager
def unpacked(path):
    """The content of a file as a binary stream that can be peeked into; InputError where it cannot be read, then or
    while it is read, or where it is told by its first bytes to be no table."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f'{path} is a folder: give the file.' if path.is_dir() else
                         f'{path} is no file: a pipe cannot be read twice, so save its content first.' if
                         path.exists() else f'{path} is not there.')
    try:
        with open(path, 'rb') as file:
            stream = _unpack(path, file)
            refuse_by_name(path, stream.peek(HEAD)[:HEAD])
            yield stream
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError(f'{path} cannot be read: it is damaged or cut short ({str(error)[:80]}).') from error
    except OSError as error:
        raise InputError(f'{path} cannot be read: {error.strerror or error}.') from error


def _unpack(path, file):
    for _ in range(3):  # a .gz in a .zip, say
        head = file.peek(8)
        opener = next((opener for sign, opener in PACKED.items() if head.startswith(sign)), None)
        if opener:
            file = io.BufferedReader(opener(file))
        elif head.startswith(ZSTD):
            file = io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(file, 'r'), 'zstd'))
        elif head.startswith(ZIP):
            file = _table_of_zip(path, file)
        elif head.startswith(b'PK\x05\x06'):
            raise InputError(f'{path} is an archive with nothing in it.')
        else:
            break
    return file


def _table_of_zip(path, file):
    if not file.seekable():
        raise InputError(f'{path} is an archive in an archive: unpack it.')
    archive = zipfile.ZipFile(file)
    names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    if {'xl/workbook.xml', 'content.xml'} & set(names):
        raise InputError(f'{path} is a workbook (.xlsx or .ods): save the sheet as CSV.')
    if names and all(name.endswith('.npy') for name in names):
        raise InputError(f'{path} is a NumPy archive (.npz), not a table.')
    tables = [name for name in names if not name.startswith('__MACOSX/') and not Path(name).name.startswith('.')
              and not NO_TABLE.match(Path(name).name)]
    if len(tables) != 1:
        found = f'{len(tables)} files that may be the table ({listed(sorted(tables))})' if tables else 'no table'
        raise InputError(f'{path} holds {found}; an archive with one table was expected: unpack it and give the table.')
    entry = archive.getinfo(tables[0])
    if entry.flag_bits & 1:
        raise InputError(f'{path} needs a password: unpack it and give the table.')
    return io.BufferedReader(archive.open(entry))
