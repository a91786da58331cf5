"""A sparse matrix from the arrays that a file holds, each of them checked first.

scipy takes the arrays of CSR and CSC matrices at their word: indices outside the shape make it read and write beyond
the arrays' memory. So no scipy matrix is made of a file's arrays before they are known to be sound.
"""
import numpy as np
import scipy.sparse as sp

from Utils.Errors import InputError

LAYOUTS = {'coo': ('row', 'col', 'data'), 'csr': ('indptr', 'indices', 'data'), 'csc': ('indptr', 'indices', 'data')}


def checked_matrix(layout, shape, arrays):
    """layout: a key of LAYOUTS; shape: two int; arrays: those of the layout, in LAYOUTS' order -> COO matrix (float64).

    InputError, beginning with what it is ("a matrix ..."), if anything is not as it should be.
    """
    if (not isinstance(shape, tuple) or len(shape) != 2
            or any(type(n) is not int or not 0 <= n < 2**31 for n in shape)):
        raise InputError('a matrix without a usable shape')
    if any(array.ndim != 1 for array in arrays):
        raise InputError('a matrix whose parts are not vectors')
    data = arrays[-1]
    if data.dtype.kind not in 'biuf':
        raise InputError(f'a matrix of type {data.dtype}')
    if layout == 'coo':
        row, col, _ = arrays
        _check_indices(row, shape[0])
        _check_indices(col, shape[1])
        if not len(row) == len(col) == len(data):
            raise InputError('a matrix whose arrays differ in length')
        return _coo(row, col, data, shape)
    indptr, indices, _ = arrays
    major, minor = shape if layout == 'csr' else shape[::-1]
    _check_indices(indices, minor)
    if (indptr.dtype.kind not in 'iu' or len(indptr) != major + 1 or len(indices) != len(data) or indptr[0] != 0
            or indptr[-1] != len(data) or np.any(indptr[1:] < indptr[:-1])):
        raise InputError('a matrix whose row pointers do not fit')
    lines = np.repeat(np.arange(major), np.diff(indptr.astype(np.int64)))
    row, col = (lines, indices) if layout == 'csr' else (indices, lines)
    return _coo(row, col, data, shape)


def _coo(row, col, data, shape):
    """In types that scipy knows on every machine: the file's may be of another byte order or half precision."""
    return sp.coo_matrix((data.astype(np.float64), (row.astype(np.int64), col.astype(np.int64))), shape)


def _check_indices(indices, size):
    if indices.dtype.kind not in 'iu' or (len(indices) and (indices.min() < 0 or indices.max() >= size)):
        raise InputError('a matrix with indices outside its shape')


def load_npz(path):
    """A file of scipy.sparse.save_npz -> COO matrix. InputError if it is anything else."""
    try:
        with open(path, 'rb') as file, np.load(file, allow_pickle=False) as archive:
            layout = archive['format'].item()
            layout = layout.decode() if isinstance(layout, bytes) else layout
            if layout not in LAYOUTS:
                raise InputError(f'a matrix of layout {str(layout)[:20]!r}, but only coo, csr and csc ones are read')
            shape = tuple(int(n) for n in archive['shape'])
            return checked_matrix(layout, shape, [archive[name] for name in LAYOUTS[layout]])
    except OSError as error:
        raise InputError(f'{path} cannot be read: {error.strerror or error}.') from error
    except InputError as error:
        raise InputError(f'{path} holds {error}: write it with scipy.sparse.save_npz.') from error
    except Exception as error:  # a damaged archive can fail in many ways: zip and numpy each have theirs
        raise InputError(f'{path} is not a readable sparse matrix ({type(error).__name__}): it must be written by '
                         'scipy.sparse.save_npz.') from error
