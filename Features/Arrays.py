"""Features from array files: .npy (plain or in a .zip), .npz, PyTorch's .pt, and folders with one .npy per item."""
import pickle
import re
import warnings
import zipfile
import zlib
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch

from Formats.Cells import BLANKS
from Formats.Content import HEAD, name_of
from Formats.Typed import EXACT
from Formats.Words import listed, shown
from Utils.Errors import InputError

NUMPY, ZIP = b'\x93NUMPY', b'PK'
MEDIA = re.compile(r'\.(jpe?g|png|gif|bmp|webp|tiff?|mp[34]|wav|flac|ogg|m4a|avi|mov|mkv|webm|txt)$', re.IGNORECASE)
AS_NPZ = 'numpy.savez(file, ids=ids, features=table)'
OBJECTS = (f'Python objects, such as a dictionary, which are not unpickled, since they could run anything: write '
           f'them with {AS_NPZ}, ids as text')


@dataclass
class Rows:
    """A table of features as a file has it, NaN where a value is missing."""

    path: Path
    table: np.ndarray  # (rows, width)
    ids: list | None   # the item of each row; None where the file does not say
    notes: list = field(default_factory=list)  # what was assumed, for the log
    where: object = None  # row -> its place in the file, for messages

    def place(self, row):
        return self.where(row) if self.where else f'{self.path}: row {row:,} (from 0)'


def read_array_file(path, known):
    """A file or folder of arrays -> Rows; None where it is none and may be a table. known: the ids of the items, as a
    set."""
    if path.is_dir():
        return _folder(path, known)
    with open(path, 'rb') as file:
        head = file.read(HEAD)
    if head.startswith(NUMPY):
        return _table(path, _array(path, partial(open, path, 'rb')))
    if head.startswith(ZIP):
        return _archive(path, known)
    if path.suffix.lower() in ('.pt', '.pth') and head[:1] == b'\x80':  # of PyTorch before 1.6
        return _torch(path, known)
    if path.suffix.lower() in ('.npy', '.npz', '.pt', '.pth'):
        what = name_of(head) if head else 'empty'
        raise InputError(f'{path} is {what}.' if what else
                         f'{path} holds something else than its name says: no {path.suffix} file begins like this.')
    return None


def _array(name, opener):
    """A .npy that the function opens -> array; InputError, with that name of the file."""
    try:
        with opener() as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # numpy has several kinds of failure for a damaged file
        with opener() as file:
            head = file.read(HEAD)
        if head.startswith(NUMPY) and re.search(rb"'descr': '\|?O", head):
            raise InputError(f'{name} holds {OBJECTS}.') from error
        what = None if head.startswith(NUMPY) else name_of(head)
        raise InputError(f'{name} is {what or "damaged or cut short: no whole .npy array could be read from it"}.'
                         ) from error


def _shape(array):
    return f'{" x ".join(map(str, array.shape)) or "one"} {"text" if array.dtype.kind in "US" else array.dtype}'


def _numbers(name, array):
    if array.dtype.kind not in 'biuf':
        raise InputError(f'{name} holds {_shape(array)}; numbers were expected.')
    return array


def _table(path, array, notes=(), ids=None):
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f'{path} holds {_shape(array)}; a table of numbers, a row for each item, was expected.')
    return Rows(path, _numbers(path, array), ids, list(notes))


def _vector(name, array):
    """One item's features, whatever axes of length 1 are around them."""
    _numbers(name, array)
    if array.size == 0 or max(array.shape, default=1) != array.size:
        raise InputError(f'{name} holds {_shape(array)}; one vector was expected: flatten it, or take its mean, first.')
    return array.reshape(-1)


def ids_as_text(path, array):
    """An array of ids -> list of text, blanks at both ends taken off."""
    if array.dtype.kind == 'S':
        try:
            array = np.char.decode(array, 'utf-8')
        except UnicodeDecodeError as error:
            raise InputError(f'{path}: its ids are bytes that are not UTF-8: write them as text.') from error
    if array.dtype.kind == 'f' and (array == np.floor(array)).all() and (abs(array) < EXACT).all():
        array = array.astype(np.int64)
    if array.dtype.kind not in 'Uiu':
        raise InputError(f'{path}: its ids are {array.dtype}, but text or whole numbers were expected.')
    return [name.strip(BLANKS) for name in array.astype(str).tolist()]


def _of_items(path, names, vectors, known, where):
    """Rows of one array per item. names: the ids; where: number of an array -> its name for messages."""
    vectors = [_vector(where(number), vector) for number, vector in enumerate(vectors)]
    widths = [len(vector) for vector in vectors]
    usual = max(set(widths), key=widths.count)
    odd = next((number for number, width in enumerate(widths) if width != usual), None)
    if odd is not None:
        raise InputError(f'{where(odd)} holds {widths[odd]} numbers, but {where(widths.index(usual))} holds {usual}: '
                         'all items need as many.')
    bare = [MEDIA.sub('', name) for name in names]
    chosen = [short if name not in known and short in known else name for name, short in zip(names, bare, strict=True)]
    cut = sum(name != id_ for name, id_ in zip(names, chosen, strict=True))
    notes = [f'{cut:,} names without their suffix, such as {shown(Path(max(names, key=len)).suffix)}'] if cut else []
    return Rows(path, np.stack(vectors), chosen, ['an array per item', *notes], where)


def _folder(path, known):
    folders = sorted({file.parent for file in path.rglob('*.npy') if not _is_hidden(file.relative_to(path))})
    if len(folders) != 1:
        raise InputError(f'{path} has no .npy file in it: a folder of features holds one per item, named by its id.'
                         if not folders else f'{path} has .npy files in {len(folders)} folders '
                         f'({listed([str(folder.relative_to(path)) for folder in folders], 6)}): give one of them.')
    folder = folders[0]
    files = sorted(file for file in folder.glob('*.npy') if not _is_hidden(file.relative_to(path)))
    arrays = [_array(file, partial(open, file, 'rb')) for file in files]
    rows = _of_items(path, [file.name.removesuffix('.npy').strip(BLANKS) for file in files], arrays, known,
                     lambda number: files[number])
    others = sum(1 for file in folder.iterdir() if file.suffix != '.npy' and not file.name.startswith('.'))
    rows.notes += [f'in {folder}'] * (folder != path) + [f'{others:,} entries that are no .npy are not read'] * bool(
        others)
    return rows


def _is_hidden(path):
    """Whether a file is an operating system's note, by its name or by that of a folder on the way."""
    return any(part.startswith('.') or part == '__MACOSX' for part in path.parts)


def _archive(path, known):
    """.npz, a .zip of .npy files, or PyTorch's; None where it may hold a table of another kind."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [entry.filename for entry in archive.infolist()
                     if not entry.is_dir() and not _is_hidden(Path(entry.filename))]
            if any(name == 'data.pkl' or name.endswith('/data.pkl') for name in names):
                return _torch(path, known)
            arrays = [name for name in names if name.endswith('.npy')]
            if not arrays and path.suffix != '.npz':
                return None
            if len(arrays) < len(names) or not arrays:
                raise InputError(f'{path} holds {listed(names, 6) or "nothing"}; only .npy arrays were expected.')
            found = {name: _array(f'{path}: {name}', partial(archive.open, name)) for name in arrays}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise InputError(f'{path} is damaged or cut short, or needs a password: no array could be read from it.'
                         ) from error
    if path.suffix != '.npz' and len(found) == 1:
        return _table(path, next(iter(found.values())))
    names = [name if path.suffix == '.npz' else Path(name).name for name in found]
    return _of_names(path, [name.removesuffix('.npy').strip(BLANKS) for name in names], list(found.values()), known)


def _of_names(path, names, arrays, known):
    """Named arrays: ids beside a table, one table, or one array per item."""
    told = listed([f'{name} ({_shape(array)})' for name, array in zip(names, arrays, strict=True)], 6)
    by_axes = sorted(range(len(arrays)), key=lambda number: arrays[number].ndim)
    first, last = (arrays[by_axes[number]] for number in (0, -1))
    matched = sum(name in known or MEDIA.sub('', name) in known for name in names)
    if len(arrays) == 2 and first.ndim == 1 and last.ndim == 2 and len(first) == len(last) and matched < 2:
        ids, table = by_axes
        return _table(path, arrays[table], [f'ids = array {shown(names[ids])}, features = array {shown(names[table])}'],
                      ids_as_text(path, arrays[ids]))
    if len(arrays) == 1 and not matched:
        return _table(path, arrays[0], [f'array {shown(names[0])}'])
    if not matched:
        raise InputError(f'{path} holds the arrays {told}; expected were ids and one table ({AS_NPZ}), or one array '
                         f'per item, named by its id, such as {shown(min(known))}.')
    return _of_items(path, names, arrays, known, lambda number: f'{path}: the array {shown(names[number])}')


def _torch(path, known):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            found = torch.load(path, map_location='cpu', weights_only=True)
    except MemoryError:
        raise
    except pickle.UnpicklingError as error:
        raise InputError(f'{path} holds more than tensors, and is not unpickled, since that could run anything: write '
                         'the tensor alone, torch.save(tensor, file), or a dictionary of id and tensor.') from error
    except Exception as error:  # torch has many kinds of failure for a damaged file
        raise InputError(f'{path} is damaged or cut short: no tensor could be read from it.') from error
    if isinstance(found, torch.Tensor):
        return _table(path, _of_tensor(path, found), ['a tensor'])
    if isinstance(found, dict) and found:
        names = [str(name).strip(BLANKS) for name in found]
        return _of_names(path, names, [_of_tensor(f'{path}: {shown(name)}', value)
                                       for name, value in zip(names, found.values(), strict=True)], known)
    what = 'nothing' if found in (None, {}, []) else f'a {type(found).__name__}'
    raise InputError(f'{path} holds {what}; a tensor, or a dictionary of id and tensor, was expected.')


def _of_tensor(name, value):
    """A tensor, or a list of numbers or text, as an array."""
    if isinstance(value, (list, tuple)) and value and len({type(entry) for entry in value}) == 1 and isinstance(
            value[0], (str, int, float)):
        return np.array(value)
    if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.is_quantized:
        kind = f'a tensor of layout {value.layout}' if isinstance(value, torch.Tensor) else f'a {type(value).__name__}'
        raise InputError(f'{name} is {kind}; a plain tensor was expected.')
    value = value.detach()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
