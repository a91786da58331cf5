"""A data set folder, read, checked and turned into what training needs (SPEC section 2).

A folder holds `trnMat`, `valMat`, `tstMat` (`.npz` by scipy.sparse.save_npz, or the published `.pkl`) of one
shape (U, I), any nonzero an interaction, and one `<modality>_feat.npy` (or `.npy.zip`) of I rows per modality.
"""
import csv
import hashlib
import re
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F

from Utils.Content import refuse_another
from Utils.Digests import add_interactions
from Utils.Errors import InputError, suggestion
from Utils.SafePickle import load_sparse_pickle
from Utils.SparseArrays import load_npz
from Utils.TimeLogger import log

SPLITS = {'train': 'trnMat', 'val': 'valMat', 'test': 'tstMat'}
MATRIX_SUFFIXES = ('.npz', '.pkl')  # the first that is there is read: .npz needs no unpickling
EXPECTED = {'.npz': ('a matrix by scipy.sparse.save_npz', 'a zip'), '.pkl': ('a pickled sparse matrix', 'a pickle'),
            '.npy': ('an array by numpy.save', 'a numpy'), '.zip': ('an archive with one .npy in it', 'a zip')}
FEATURE_FILE = re.compile(r'(?P<modality>.+)_feat\.npy(\.zip)?')
MOST_NODES = 10**8  # users or items: memory for more is asked for by damaged files only
FIRST_MODALITIES = ('image', 'text', 'audio')  # their published order; others follow by name


@dataclass(frozen=True)
class Dataset:
    """Interactions as CSR matrices of ones (U, I); features as float32 arrays (I, d_m) by modality."""

    name: str
    train: sp.csr_matrix
    val: sp.csr_matrix
    test: sp.csr_matrix
    features: dict

    @property
    def n_users(self):
        return self.train.shape[0]

    @property
    def n_items(self):
        return self.train.shape[1]

    @property
    def modalities(self):
        return tuple(self.features)

    def sha256(self):
        """Checksum of all interactions and features."""
        digest = add_interactions(hashlib.sha256(), (self.train, self.val, self.test))
        for name, table in self.features.items():
            digest.update(f'{name} {table.shape}'.encode(errors='surrogateescape'))
            digest.update(table)
        return digest.hexdigest()

    def statistics(self):
        """Counts, sparsity of the three splits together (percent) and the width of each modality."""
        return {**split_statistics({split: getattr(self, split) for split in SPLITS}),
                'modalities': {name: feature.shape[1] for name, feature in self.features.items()}}


def require_features(dataset, model):
    """InputError, for the model of that name, where the data set has no modality, or none of it is used."""
    if not dataset.modalities:
        raise InputError(f'{model} needs the features of at least one modality, and of {dataset.name} none is there, '
                         'or --modalities names none: put *_feat.npy into its folder, name one, or choose a model '
                         'without features with --model (lightgcn, for one).')


def require_withheld(dataset):
    """InputError where there is nothing to find in the test set. Interactions that are in training, too, are never
    ranked; how many there are is said."""
    if dataset.test.nnz == 0:
        raise InputError(f'The test matrix of {dataset.name} holds no interaction: there is nothing to evaluate.')
    for split in ('val', 'test'):
        withheld = getattr(dataset, split)
        known = withheld.multiply(dataset.train).nnz
        if split == 'test' and known == withheld.nnz:
            raise InputError(f'Every test interaction of {dataset.name} is in training, too, and what a user has there '
                             'is never ranked: there is nothing to find. Withhold others from training.')
        if known:
            log(f'{known:,} of {withheld.nnz:,} {split} interactions are in training, too, where they are never '
                'ranked: they count as not found')


def split_statistics(splits):
    """Users, items, interactions of each split and the sparsity of all together (percent); splits: name -> matrix."""
    users, items = next(iter(splits.values())).shape
    counts = {split: matrix.nnz for split, matrix in splits.items()}
    sparsity = 100 * (1 - sum(counts.values()) / (users * items))
    return {'users': users, 'items': items, **counts, 'sparsity_percent': round(sparsity, 3)}


def load_dataset(data_dir, name, modalities=None):
    """Read `data_dir`/`name`. `modalities`: which to use and in which order; None: all the folder has."""
    folder = find_folder(Path(data_dir), name)
    matrices = {split: load_matrix(folder, stem) for split, stem in SPLITS.items()}
    check_shapes(folder, matrices)
    if matrices['train'].nnz == 0:
        raise InputError(f'The training matrix in {folder} holds no interaction: there is nothing to learn from.')
    files = feature_files(folder)
    chosen = choose_modalities(folder, files, modalities)
    n_items = matrices['train'].shape[1]
    return Dataset(name=name, features={name: load_features(files[name], n_items) for name in chosen}, **matrices)


def check_shapes(folder, matrices):
    if len({matrix.shape for matrix in matrices.values()}) > 1:
        told = ', '.join(f'{SPLITS[split]} {matrix.shape[0]} x {matrix.shape[1]}' for split, matrix in matrices.items())
        raise InputError(f'The matrices in {folder} differ in shape ({told}): all three must be users x items.')


def is_one_name(name):
    """Whether it can be the name of a folder below another, and of nothing elsewhere."""
    return name not in ('', '..') and Path(name).name == name


def find_folder(data_dir, name):
    if not is_one_name(name):
        raise InputError(f'--data got {name!r}, expected the name of one folder; --data_dir says where it lies.')
    folder = data_dir / name
    if not folder.is_dir():
        found = sorted({path.parent.name for path in data_dir.glob('*/trnMat.*') if path.parent.name[0] != '.'})
        raise InputError(f'There is no data set folder {folder}. '
                         + suggestion(name, found)
                         + (f'{data_dir} has: {", ".join(found)}.' if found else f'{data_dir} has no data set: '
                            'give the folder that holds them with --data_dir, or use --data demo, which is generated.'))
    return folder


def matrix_file(folder, stem):
    path = next((folder / f'{stem}{suffix}' for suffix in MATRIX_SUFFIXES if (folder / f'{stem}{suffix}').is_file()),
                None)
    if path is None:
        raise InputError(f'{folder} has neither {stem}.npz nor {stem}.pkl; a data set folder holds '
                         f'{", ".join(SPLITS.values())} and one *_feat.npy per modality.')
    return path


def read_matrix(path):
    """A file -> COO matrix (U, I) of its positive entries, as often as they are stored."""
    refuse_another(path, *EXPECTED[path.suffix])
    matrix = load_sparse_pickle(path) if path.suffix == '.pkl' else load_npz(path)
    if 0 in matrix.shape:
        raise InputError(f'{path} has the shape {matrix.shape}; users x items was expected.')
    if max(matrix.shape) > MOST_NODES:
        raise InputError(f'{path} has the shape {matrix.shape}; at most {MOST_NODES:,} users or items were expected.')
    if not np.all(np.isfinite(matrix.data)) or np.any(matrix.data < 0):
        raise InputError(f'{path} holds negative, missing or infinite entries; interactions are positive numbers.')
    present = matrix.data != 0
    ones = np.ones(np.count_nonzero(present), np.float32)
    return sp.coo_matrix((ones, (matrix.row[present], matrix.col[present])), matrix.shape)


def load_matrix(folder, stem):
    """`stem`.npz or `stem`.pkl -> CSR matrix of ones with sorted indices."""
    return interactions(read_matrix(matrix_file(folder, stem)))


def interactions(matrix):
    """Any sparse matrix of positive entries -> CSR matrix of ones with sorted indices."""
    matrix = matrix.tocsr()
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def load_ids(folder, side, size):
    """The original ids of users or items (side), as text: from `users.csv` or `items.csv` (columns index, id), where
    the folder has it, else their numbers."""
    path = Path(folder) / f'{side}.csv'
    if not path.is_file():
        return [str(number) for number in range(size)]
    try:
        with open(path, newline='', encoding='utf-8-sig') as file:
            ids = [row['id'] for number, row in enumerate(csv.DictReader(file)) if int(row['index']) == number]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise InputError(f'{path} is not readable as a table of the columns index and id ({type(error).__name__}): '
                         'mend it, or take it away to go by numbers.') from error
    if len(ids) != size or None in ids:
        raise InputError(f'{path} names {len(ids)} {side} in order, but the matrices have {size}: mend it, or take it '
                         'away to go by numbers.')
    return ids


def entries(folder):
    """What lies in a data set folder, by name. What begins with a dot is not part of it: operating systems' notes."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith('.'))


def unread_features(folder):
    """What lies in the folder, looks like features by its name and is not read as such."""
    read = feature_files(folder).values()
    return [path for path in entries(folder) if 'feat' in path.name.lower() and path not in read]


def feature_files(folder):
    """Modality -> file, in the order image, text, audio, then the others by name."""
    files = {}
    for path in entries(folder):
        match = FEATURE_FILE.fullmatch(path.name)
        if match and '.' in match['modality']:
            raise InputError(f'{path}: the name of a modality cannot have a dot in it; rename the file.')
        if match:
            files.setdefault(match['modality'], path)  # sorted: a plain .npy comes before its .zip
    ranks = {name: rank for rank, name in enumerate(FIRST_MODALITIES)}
    return {name: files[name] for name in sorted(files, key=lambda name: (ranks.get(name, len(ranks)), name))}


def choose_modalities(folder, files, wanted):
    if wanted is None:
        wanted = tuple(files)
    for name in wanted:
        if name not in files:
            raise InputError(f'{folder} has no file {name}_feat.npy. '
                             + suggestion(name, files)
                             + (f'Its modalities: {", ".join(files)}.' if files else 'It has no *_feat.npy at all.'))
    if len(set(wanted)) < len(wanted):
        raise InputError(f'--modalities {" ".join(wanted)} names a modality twice.')
    return wanted


def load_array(path):
    with open(path, 'rb') as file:  # given the path, numpy leaves a damaged file open
        return np.load(file, allow_pickle=False)


def check_table(path, table):
    """InputError unless what was read from there is a table of numbers."""
    if not isinstance(table, np.ndarray) or table.dtype.kind not in 'biuf' or table.ndim != 2:
        got = f'{table.dtype}, shape {table.shape}' if isinstance(table, np.ndarray) else 'an archive'
        raise InputError(f'{path} holds {got}; a table of numbers, items x width, was expected.')


def read_features(path, n_items):
    """`.npy` or `.npy.zip` of numbers -> array (I, width) as it is stored."""
    refuse_another(path, *EXPECTED[path.suffix])
    try:
        if path.suffix == '.zip':
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.endswith('.npy')
                         and '__MACOSX' not in name and not Path(name).name.startswith('.')]
                if len(names) != 1:
                    raise InputError(f'{path} holds {len(names)} .npy files; one was expected.')
                with archive.open(names[0]) as file:
                    features = np.lib.format.read_array(file, allow_pickle=False)
        else:
            features = load_array(path)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f'{path} cannot be read: {error.strerror or error}.') from error
    except Exception as error:  # zip and numpy each have several kinds of failure for a damaged file
        raise InputError(f'{path} is not a readable .npy array of numbers ({type(error).__name__}): write it with '
                         'numpy.save, as a table items x width.') from error
    check_table(path, features)
    if features.shape[0] != n_items or features.shape[1] == 0:
        raise InputError(f'{path} has the shape {features.shape[0]} x {features.shape[1]}, but the matrices have '
                         f'{n_items} items: one row per item, one or more columns were expected.')
    return features


def load_features(path, n_items):
    """The same as a finite float32 array."""
    features = read_features(path, n_items)
    with np.errstate(over='ignore'):  # a float64 too large for float32 becomes infinite and is told of below
        features = np.ascontiguousarray(features, dtype=np.float32)
    bad = ~np.isfinite(features).all(axis=1)
    if bad.any():
        raise InputError(f'{path} has NaN or infinite values in {bad.sum()} rows, the first of them row '
                         f'{bad.argmax()}: fill or drop them.')
    return features


@dataclass(frozen=True)
class RowBatch:
    """A batch of rows of ones and zeros, shape (B, I), as the positions (rows, items) of the ones, row by row."""

    rows: torch.Tensor
    items: torch.Tensor
    counts: torch.Tensor  # ones in each row
    shape: tuple

    @property
    def positions(self):
        return self.rows, self.items

    def dense(self, dtype=torch.float32):
        table = torch.zeros(self.shape, dtype=dtype, device=self.rows.device)
        table[self.positions] = 1
        return table

    def times(self, table):
        """The rows times a table (I, d), in O(ones x d): (B, d)."""
        return F.embedding_bag(self.items, table, self.counts.cumsum(0) - self.counts, mode='sum')


class UserRows:
    """The rows of a CSR matrix of interactions (sorted indices), on a device, for batches of users."""

    def __init__(self, matrix, device='cpu'):
        self.shape = matrix.shape
        self.starts = torch.as_tensor(matrix.indptr, dtype=torch.int64, device=device)
        self.items = torch.as_tensor(matrix.indices, dtype=torch.int64, device=device)
        self.counts = self.starts.diff()

    @cached_property
    def keys(self):
        """One number per interaction, ascending, and a last one above all."""
        keys = self.users * self.shape[1] + self.items
        return torch.cat([keys, keys.new_full((1,), torch.iinfo(torch.int64).max)])

    def hold(self, users, items):
        """Whether each user (B,) has each of her items (B, k): true or false (B, k)."""
        wanted = users[:, None] * self.shape[1] + items
        return self.keys[torch.searchsorted(self.keys, wanted)] == wanted

    @property
    def users(self):
        """The user of every interaction, in the order of `items`."""
        return torch.repeat_interleave(self.counts)

    def batch(self, users):
        """The rows of the given users (B,)."""
        counts = self.counts[users]
        rows = torch.repeat_interleave(counts)
        firsts = self.starts[users] - (counts.cumsum(0) - counts)
        items = self.items[firsts[rows] + torch.arange(len(rows), device=rows.device)]
        return RowBatch(rows, items, counts, (len(users), self.shape[1]))


class NegativeSampler:
    """For each training interaction one item, uniform among those its user has no training interaction with.

    Exact, without rejection: the r-th such item of a user is r plus the number of her items that come
    before it, which a binary search finds, because (her k-th item) - k never falls as k grows.
    Interactions of a user who has every item have no negative; `users` and `positives` leave them out.
    """

    def __init__(self, rows):
        free = rows.shape[1] - rows.counts  # items open to each user
        users = rows.users
        rank = torch.arange(len(rows.items), device=users.device) - rows.starts[users]
        usable = free[users] > 0
        if not usable.any():
            raise InputError('Every user has every item in training: there is no negative item to learn from.')
        self.n_items = rows.shape[1]
        self.keys = users * self.n_items + rows.items - rank
        self.users, self.positives = users[usable], rows.items[usable]
        self.free, self.starts = free[self.users], rows.starts[self.users]

    def __len__(self):
        return len(self.users)

    def sample(self, generator):
        """One negative per interaction, in the order of `users` and `positives`."""
        draw = torch.rand(len(self), dtype=torch.float64, generator=generator, device=self.users.device)
        rank = (draw * self.free).long()
        return rank + torch.searchsorted(self.keys, self.users * self.n_items + rank, right=True) - self.starts
