"""Shared by all tests: random inputs from a seed that is printed, and small data sets on disk."""
import os
import random
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import torch

torch.set_num_threads(1)  # on inputs this small threads would only wait for one another
SEED = int(os.environ.get('TEST_SEED', random.SystemRandom().randrange(2**31)))


def pytest_report_header():
    return f'random inputs: TEST_SEED={SEED}'


@pytest.fixture
def rng(request):
    """A generator of its own for every test, so that one test can be repeated alone."""
    return np.random.default_rng([SEED, *request.node.name.encode()])


@pytest.fixture
def generator(rng):
    return torch.Generator().manual_seed(int(rng.integers(2**31)))


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        yield


def random_matrix(rng, n_users, n_items, density=0.3):
    """A CSR matrix of ones in which some users and items have no entry."""
    dense = rng.random((n_users, n_items)) < density
    dense[rng.integers(n_users)] = False
    dense[:, rng.integers(n_items)] = False
    return sp.csr_matrix(dense.astype(np.float32))


def planted(rng, n_users=60, n_items=40, widths=(('image', 8), ('text', 6))):
    """Two groups of users, each with a taste for all of its own half of the items, which the features also show.

    Returns (matrices by file stem, features by modality).
    """
    groups, halves = np.arange(n_users) % 2, np.arange(n_items) % 2
    splits = {stem: np.zeros((n_users, n_items), np.float32) for stem in ('trnMat', 'valMat', 'tstMat')}
    for user, group in enumerate(groups):
        liked = rng.permutation(np.flatnonzero(halves == group))
        for stem, items in zip(splits, (liked[4:], liked[:2], liked[2:4]), strict=True):
            splits[stem][user, items] = 1
    features = {name: (rng.normal(size=(n_items, width)) + 2 * halves[:, None]).astype(np.float16)
                for name, width in widths}
    return {stem: sp.coo_matrix(matrix) for stem, matrix in splits.items()}, features


def write_dataset(folder, matrices, features):
    folder.mkdir(parents=True)
    for stem, matrix in matrices.items():
        sp.save_npz(folder / f'{stem}.npz', matrix)
    for name, table in features.items():
        np.save(folder / f'{name}_feat.npy', table)
    return folder
