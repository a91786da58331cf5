"""Do these features belong to these items? Two items of one user are more alike than two of different users.

One pair of training items is drawn per user, so that users with many count as much as others. The mean cosine of the
pairs, over features centred on their mean, stands against the same mean after the second items have been shuffled
between the users, PERMUTATIONS times: the difference, and z = difference / standard deviation of the shuffled means.
Features whose rows are numbered by another code base give a z near 0.
"""
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from Utils.TimeLogger import log

PERMUTATIONS = 200
LEAST_Z = 4  # below it the features may belong to other items
FEW_PAIRS = 1000  # with fewer, right features can fall below LEAST_Z too
MOST_PAIRS = 40_000  # more tell no more and take longer
MOST_NUMBERS = 50 * 10**6  # of all first items' features together: wide features are told by fewer pairs
BLOCK = 64  # pairs among which the second items are shuffled
SEED = 421  # of its own, so that a run's random numbers stay as they are


@dataclass(frozen=True)
class Coherence:
    """What the pairs tell of a modality; difference and z are None where there is no pair to shuffle."""

    pairs: int
    difference: float | None
    z: float | None

    @property
    def doubtful(self):
        return self.z is not None and self.z < LEAST_Z and self.pairs >= FEW_PAIRS

    def __str__(self):
        few = 'too few to tell whether the features belong to the items'
        if self.z is None:
            return (f'users with two items: {self.pairs:,}, {few}' if self.pairs < FEW_PAIRS else
                    'every row is alike, so that nothing tells whether the features belong to the items')
        told = (f'cosine of two items of a user less that of pairs shuffled between users {self.difference:+.4f}, '
                f'z {self.z:.1f}')
        if self.doubtful:
            return (f'{told}: below {LEAST_Z}, so these features may belong to other items, as they do where another '
                    'code base has numbered them; or they have nothing to do with what users choose')
        return told if self.z >= LEAST_Z else f'{told}; {self.pairs:,} pairs are {few}'


def draw_pairs(train, rng, most):
    """Two different training items of each user who has two, of `most` users by lot at most: (first, second)."""
    counts = np.diff(train.indptr)
    users = np.flatnonzero(counts >= 2)
    users = rng.permutation(users)[:most]
    counts, starts = counts[users], train.indptr[users]
    first = (rng.random(len(users)) * counts).astype(np.int64)
    second = (rng.random(len(users)) * (counts - 1)).astype(np.int64)
    second += second >= first
    return train.indices[starts + first], train.indices[starts + second]


def centring(table, chunk=4096):
    """Mean row and, per row, 1 / length once it is centred: 0 for rows that lie on the mean, as filled ones do."""
    mean = table.mean(0, dtype=np.float64).astype(np.float32)
    with np.errstate(over='ignore'):  # a length beyond float32 is infinite, and its row counts as 0
        lengths = np.concatenate([np.linalg.norm(table[start:start + chunk].astype(np.float32, copy=False) - mean,
                                                 axis=1) for start in range(0, len(table), chunk)])
    usable = lengths > 1e-5 * np.sqrt(np.square(lengths, dtype=np.float64).mean())
    return mean, np.divide(1, lengths, out=np.zeros_like(lengths), where=usable)


def shifted_sums(table, first, second):
    """Pairs of items (blocks, n) -> (blocks, n): sums of the cosines where a block's second items are shifted by 0, 1,
    ..., n - 1 places."""
    mean, scale = centring(table)
    size = first.shape[1]
    places = torch.arange(size)
    shifts = (places[:, None] + places) % size  # [shift, n-th first item] -> its second item

    def unit(items):
        return torch.from_numpy((table[items].astype(np.float32, copy=False) - mean) * scale[items][..., None])

    with one_thread():
        return np.concatenate([(unit(mine) @ unit(theirs).T)[places, shifts].double().sum(1).numpy()[None]
                               for mine, theirs in zip(first, second, strict=True)])


@contextmanager
def one_thread():
    """For products so small that threads would only wait for one another, or for whoever else uses the machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def coherence(train, table):
    """CSR matrix of training interactions (U, I), finite features (I, d) -> Coherence. The same at every call.

    The pairs, in random order, are cut into blocks, and for each shuffle the second items of every block are shifted
    around by a random number of places: all the cosines needed are then in one small product per block.
    """
    rng = np.random.default_rng(SEED)
    first, second = draw_pairs(train, rng, min(MOST_PAIRS, MOST_NUMBERS // table.shape[1]))
    if len(first) < 2:
        return Coherence(len(first), None, None)
    n_blocks = -(-len(first) // BLOCK)
    size = len(first) // n_blocks
    first, second = (items[:n_blocks * size].reshape(n_blocks, size) for items in (first, second))
    sums = shifted_sums(table, first, second)
    lots = rng.integers(1, size, (PERMUTATIONS, n_blocks))  # a shift by 0 would leave the pairs as they are
    shuffled = sums[np.arange(n_blocks), lots].sum(1) / first.size
    difference = sums[:, 0].sum() / first.size - shuffled.mean()
    spread = shuffled.std()
    return Coherence(first.size, *(map(float, (difference, difference / spread)) if spread > 0 else (None, None)))


def log_coherence(dataset):
    """One line per modality of a data set."""
    for name, table in dataset.features.items():
        log(f'modality {name}: {coherence(dataset.train, table)}')
