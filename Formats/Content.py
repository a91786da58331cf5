"""What a file is by its first bytes, for files that a table was expected in: named, never parsed as something else."""
import re

from Utils.Errors import InputError

HEAD = 4096  # bytes that are looked at
ASK_AGAIN = 'download it anew, from the address of the file itself'
SIGNS = (  # the first bytes, and what is said of a file that begins with them
    (b'version https://git-lfs', 'a git-lfs pointer, which only stands for the file: fetch that with git lfs pull'),
    (b'\x00\x05\x16\x07', "a companion file of macOS without content: take the file without the leading '._'"),
    (b'\x93NUMPY', 'a NumPy array (.npy), not a table with ids'),
    (b'\x89HDF', 'an HDF5 file: write the table as CSV or Parquet'),
    (b'SQLite format 3', 'an SQLite data base: write the table as CSV'),
    (b'\xd0\xcf\x11\xe0', 'an Excel workbook (.xls): save the sheet as CSV'),
    (b'ARROW1', 'an Arrow or Feather file: write the table as Parquet or CSV'),
    (b'ORC', 'an ORC file: write the table as Parquet or CSV'),
    (b'Obj\x01', 'an Avro file: write the table as Parquet or CSV'),
    *((sign, 'an R data file: write the table as CSV with row.names = FALSE') for sign in (b'RDX', b'X\n\0\0')),
    (b'%PDF', 'a PDF document'),
    (b'\x89PNG', 'a picture (PNG)'), (b'\xff\xd8\xff', 'a picture (JPEG)'), (b'GIF8', 'a picture (GIF)'),
    (b'7z\xbc\xaf', 'a 7-Zip archive: unpack it'), (b'Rar!', 'a RAR archive: unpack it'),
    (b'\x04\x22\x4d\x18', 'an lz4 archive: unpack it'), (b'\x1f\x9d', 'a compress (.Z) archive: unpack it'),
    (b'\xff\xfe\0\0', 'text in UTF-32: save it as UTF-8'),
    (b'\xff\xfe', 'text in UTF-16: save it as UTF-8'), (b'\xfe\xff', 'text in UTF-16: save it as UTF-8'))
EARLY_PICKLE = re.compile(rb'(c[A-Za-z_][\w.]*\r?\n\w+\r?\n|\(?[ld]p\d+\r?\n|\([lid]\.)')  # protocols 0 and 1, as text
PAGE = re.compile(rb'(<!doctype\s+html|<!--|<(html|head|body|meta|script|title|div|table|pre)\b)', re.IGNORECASE)


def name_of(head):
    """What a file is that begins with these bytes, as the end of a sentence; None: nothing that is known by its name
    and is not a table of text."""
    for sign, name in SIGNS:
        if head.startswith(sign):
            return name
    if re.match(rb'\x80[\x02-\x05]', head) or EARLY_PICKLE.match(head):
        return 'a pickle, which is not unpickled, since it could run anything: write the table as CSV or Parquet'
    if head[257:262] == b'ustar':
        return 'a tar archive: unpack it and give the table in it'
    text = head.removeprefix(b'\xef\xbb\xbf').lstrip()
    if PAGE.match(text):
        return f'an HTML page, often the message of a server in the place of the file: {ASK_AGAIN}'
    if text.startswith(b'<?xml'):
        return f'an XML document: write the table as CSV, or {ASK_AGAIN}'
    if text.startswith((b'404: Not Found', b'404 Not Found')):
        return f'the message of a server that did not find the file: {ASK_AGAIN}'
    return None


def refuse_by_name(path, head):
    """InputError where the bytes at the beginning of a file tell that it is something else than a table."""
    name = name_of(head)
    if name:
        raise InputError(f'{path} is {name}.')
