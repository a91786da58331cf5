"""What a file is by its first bytes, whatever its name says: for files that are not what was expected."""
import re
from pathlib import Path

from Utils.Errors import InputError

HEAD = 1024  # bytes that tell
AGAIN, ANEW, UNPACK = 'fetch the file itself again', 'save its content anew', 'unpack it'
SIGNATURES = (  # beginning, what it is, what to do about it
    (rb'version https://git-lfs\.', 'a git-lfs pointer, a note of three lines that stands for the file',
     'run `git lfs pull` where it was cloned, or download the file itself'),
    (rb'(?i)\s*<(!doctype\s+html|html|head|body|!--)', 'an HTML page', f'a site gave it in place of the file; {AGAIN}'),
    (rb'\s*<\?xml', 'an XML page', f'a site gave it in place of the file; {AGAIN}'),
    (rb'404: Not Found', "a server's answer that it has no such file", f'look at the address and {AGAIN}'),
    (rb'\x00\x05\x16[\x00\x07]', 'an AppleDouble file, what macOS notes of another', AGAIN),
    (rb'\x93NUMPY', 'a numpy array (.npy)', 'name it so'),
    (rb'PK[\x03\x05]', 'a zip archive (as .npz and .pt files are)', f'{UNPACK}, or {ANEW}'),
    (rb'\x80[\x02-\x05]', 'a pickle', ANEW), (rb'\x1f\x8b', 'a gzip archive', UNPACK),
    (rb'BZh', 'a bzip2 archive', UNPACK), (rb'\xfd7zXZ\x00', 'an xz archive', UNPACK),
    (rb'7z\xbc\xaf', 'a 7z archive', UNPACK), (rb'Rar!', 'a rar archive', UNPACK),
    (rb'PAR1', 'a Parquet table', ANEW), (rb'\x89HDF', 'an HDF5 file', ANEW), (rb'%PDF', 'a PDF', AGAIN),
    (rb'\x89PNG|\xff\xd8\xff|GIF8', 'a picture', f'numbers were expected; {AGAIN}'))


def what_is(path):
    """(what the file is, what to do about it), or (None, None) where its first bytes do not tell.

    OSError if it cannot be read.
    """
    with open(path, 'rb') as file:
        head = file.read(HEAD)
    if not head:
        return 'empty', AGAIN
    return next(((kind, advice) for beginning, kind, advice in SIGNATURES if re.match(beginning, head)), (None, None))


def refuse_another(path, expected, kind_expected):
    """InputError, with one sentence, where the file's first bytes are those of something known that is not expected.

    expected: how the sentence names it; kind_expected: what `what_is` says of it, or how that begins.
    """
    if not Path(path).is_file():
        return  # for the reader to tell
    try:
        kind, advice = what_is(path)
    except OSError:
        return
    if kind and not kind.startswith(kind_expected):
        raise InputError(f'{path} is {kind}, where {expected} was expected: {advice}.')
