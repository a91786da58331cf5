"""Reading pickled scipy sparse matrices without running anything that the file asks for.

A pickle is a program: an ordinary `pickle.load` calls whatever functions it names. The published matrices
are pickles, written by versions of scipy and numpy whose module paths have since moved. Here no scipy or
numpy object is built while unpickling: the few names such a file may use stand for passive records below,
and the matrix is put together from those records afterwards, with every size and index checked.
"""
import pickle
import pickletools
from math import prod

import numpy as np

from Utils.Errors import InputError
from Utils.SparseArrays import LAYOUTS, checked_matrix

NUMBER_TYPES = ('b1', 'f2', 'f4', 'f8', *(f'{kind}{size}' for kind in 'iu' for size in (1, 2, 4, 8)))
# A matrix needs fewer than 200 instructions, each array being one, and reads the memo about ten times. More of
# either serves only to keep the reader busy: tuples of tuples of one tuple take exponential time to hash.
MAX_INSTRUCTIONS = 1000
MAX_MEMO_READS = 24
MEMO_READS = ('GET', 'BINGET', 'LONG_BINGET', 'DUP')
MEMO_WRITES = ('PUT', 'BINPUT', 'LONG_BINPUT')


class _Record:
    """An object of a pickle, as data: how it was made and the state it was given."""

    def __init__(self, *args):
        self.args = args
        self.state = None

    def __setstate__(self, state):
        self.state = state


class _Matrix(_Record):
    layout = None


class _Dtype(_Record):
    def numpy(self):
        code = self.args[0] if self.args else None
        if code not in NUMBER_TYPES:
            raise InputError(f'an array of type {str(code)[:20]!r}; numbers were expected')
        order = self.state[1] if isinstance(self.state, tuple) and len(self.state) > 1 else '='
        if order not in ('<', '>', '|', '='):
            raise InputError('a damaged array type')
        return np.dtype(code).newbyteorder(order)


class _Array(_Record):
    """numpy's `_reconstruct`: the content comes as state (version, shape, dtype, fortran order, bytes)."""

    def content(self):
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise InputError('a damaged array')
        return self.state[1:]

    def numpy(self):
        """The array, if the record is that of numbers whose bytes fill the stated shape."""
        shape, dtype, fortran, data = self.content()
        data = data.encode('latin1') if isinstance(data, str) else data
        if not isinstance(dtype, _Dtype) or not isinstance(data, (bytes, bytearray)) or not isinstance(shape, tuple):
            raise InputError('an array of objects; numbers were expected')
        dtype = dtype.numpy()
        if any(type(n) is not int or n < 0 for n in shape) or prod(shape) * dtype.itemsize != len(data):
            raise InputError('an array whose bytes do not fill its shape')
        return np.frombuffer(data, dtype).reshape(shape, order='F' if fortran else 'C')


class _BufferArray(_Array):
    """numpy's `_frombuffer` of pickle protocol 5: called with (bytes, dtype, shape, order)."""

    def content(self):
        data, dtype, shape, order = self.args
        return shape, dtype, order == 'F', data


class _Placeholder(_Record):
    """A class that is only named: numpy.ndarray and object, as what the calls above and below make."""


def _latin1(text, encoding='latin1'):
    """`_codecs.encode` as numpy uses it to store bytes in pickles of protocol 2 and below."""
    if encoding not in ('latin1', 'latin-1') or not isinstance(text, str):
        raise InputError('an encoded text')
    return text.encode('latin1')


def _no_bytes():
    """`bytes()`, by which protocols 0 to 2 write the content of an empty array."""
    return b''


def _new_object(kind, base, state):
    """`copyreg._reconstructor`, which makes an object without arguments in protocols 0 and 1."""
    if not (isinstance(kind, type) and issubclass(kind, _Matrix)):
        raise InputError('an object that is not a matrix')
    return kind()


def _admitted():
    """(module, name) -> stand-in, for every name that pickles of sparse matrices use, old and new."""
    names = {('numpy', 'ndarray'): _Placeholder, ('numpy', 'dtype'): _Dtype, ('_codecs', 'encode'): _latin1}
    for module in ('numpy.core', 'numpy._core'):
        names[f'{module}.multiarray', '_reconstruct'] = _Array
        names[f'{module}.numeric', '_frombuffer'] = _BufferArray
    for copyreg, builtins in (('copy_reg', '__builtin__'), ('copyreg', 'builtins')):
        names[copyreg, '_reconstructor'] = _new_object
        names[builtins, 'object'] = _Placeholder
        names[builtins, 'bytes'] = _no_bytes
    for layout in ('coo', 'csr', 'csc'):
        for kind in ('matrix', 'array'):
            for module in (f'scipy.sparse.{layout}', f'scipy.sparse._{layout}'):
                names[module, f'{layout}_{kind}'] = type(f'_{layout}', (_Matrix,), {'layout': layout})
    return names


class _Unpickler(pickle.Unpickler):
    def __init__(self, file):
        super().__init__(file, encoding='latin1')  # bytes that Python 2 wrote come as text
        self.names = _admitted()

    def find_class(self, module, name):
        if (module, name) not in self.names:
            _refuse_layout(module, name)
            raise InputError(f'the name {module}.{name}'[:120])
        return self.names[module, name]

    def persistent_load(self, pid):
        raise InputError('a reference to something outside the file')


def load_sparse_pickle(path):
    """A pickled scipy COO, CSR or CSC matrix -> scipy COO matrix. InputError if the file is anything else."""
    try:
        with open(path, 'rb') as file:
            _check_instructions(file)
            file.seek(0)
            return _matrix(_Unpickler(file).load())
    except OSError as error:
        raise InputError(f'{path} cannot be read: {error.strerror}.') from error
    except InputError as error:
        raise InputError(f'{path} holds {error}: nothing but a scipy sparse matrix of numbers is loaded from a '
                         'pickle. Save it with scipy.sparse.save_npz(..., matrix.tocsr()) instead.') from error
    except Exception as error:  # a damaged pickle can fail in any way: pickle documents no closed list
        raise InputError(f'{path} is not a readable pickle ({type(error).__name__}): it may be cut short or damaged. '
                         'Fetch or make it again.') from error


def _refuse_layout(module, name):
    """InputError for a scipy matrix that is not one of LAYOUTS: dok and lil ones are made of an object per entry."""
    if module.startswith('scipy.sparse') and name.endswith(('_matrix', '_array')) and name[:3] not in LAYOUTS:
        raise InputError(f'a {name[:20]}, but only coo, csr and csc ones are read')


def _check_instructions(file):
    memo_reads, texts = 0, ('', '')
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        memo_reads += opcode.name in MEMO_READS
        if opcode.name == 'GLOBAL':
            _refuse_layout(*argument.split(' ', 1))
        elif opcode.name == 'STACK_GLOBAL':
            _refuse_layout(*texts)
        elif isinstance(argument, str):
            texts = texts[1], argument
        if count > MAX_INSTRUCTIONS or memo_reads > MAX_MEMO_READS:
            raise InputError('more instructions than a matrix needs')
        if opcode.name in MEMO_WRITES and argument > MAX_INSTRUCTIONS:
            raise InputError('an instruction that only takes memory')


def _matrix(record):
    state = record.state if isinstance(record, _Matrix) else None
    if not isinstance(state, dict):
        raise InputError(f'an object of type {type(record).__name__}')
    shape = state.get('_shape', state.get('shape'))
    names = LAYOUTS[record.layout]
    records = [state.get(name) for name in names]
    if record.layout == 'coo' and state.get('coords'):
        records = [*state['coords'], state.get('data')]
    if len(records) != len(names) or not all(isinstance(part, _Array) for part in records):
        raise InputError('a matrix with a part missing')
    return checked_matrix(record.layout, shape, [part.numpy() for part in records])
