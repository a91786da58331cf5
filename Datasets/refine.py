"""Two copies of one bipartite graph whose nodes are numbered otherwise: which node is which, by the edges alone.

Colour refinement (Weisfeiler and Leman, 1968): at first all users have one colour and all items another; in each round
a node's colour becomes a hash of its own and of its neighbours' colours, until no round tells more nodes apart. A node
whose colour is its own in both graphs is the same node in both. Nodes that the edges leave alike, such as two items of
one user that nobody else has, keep one colour.
"""
from dataclasses import dataclass
from itertools import count

import numpy as np
import scipy.sparse as sp

USERS, ITEMS = np.uint64(0x243F6A8885A308D3), np.uint64(0x13198A2E03707344)  # first colours: digits of pi


@dataclass(frozen=True)
class Matching:
    """users, items: for each of the second graph the number of the same one in the first, -1 where it is not told apart
    or has no edge; rounds: of the refinement, that tell most apart; alike: whether both graphs end with the same
    colours, so that they can be one graph."""

    users: np.ndarray
    items: np.ndarray
    rounds: int
    alike: bool


def mixed(numbers):
    """A hash of 64 bits, one to one (the finaliser of SplitMix64)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


class Colours:
    """The colours of one graph, a CSR matrix of ones (U, I)."""

    def __init__(self, matrix):
        self.rows = sp.csr_matrix(matrix, dtype=np.uint64)
        self.columns = self.rows.T.tocsr()
        self.users = np.full(matrix.shape[0], USERS)
        self.items = np.full(matrix.shape[1], ITEMS)

    def refine(self):
        """One round. Sums of hashes, modulo 2^64, stand for sets: they are the same in any order."""
        users, items = mixed(self.users), mixed(self.items)
        self.users = mixed(users * np.uint64(3) + self.rows @ items)
        self.items = mixed(items * np.uint64(3) + self.columns @ users)

    def count(self):
        return len(np.unique(self.users)) + len(np.unique(self.items))


def same_nodes(first, second):
    """Colours of nodes (n,), (m,) -> for each node of the second the first's of the same colour, where it is the only
    one in both, else -1."""
    (ours, places, counts), (theirs, back, times) = (
        np.unique(colours, return_index=True, return_counts=True) for colours in (first, second))
    here, there = np.intersect1d(ours, theirs, assume_unique=True, return_indices=True)[1:]
    single = (counts[here] == 1) & (times[there] == 1)
    found = np.full(len(second), -1)
    found[back[there[single]]] = places[here[single]]
    return found


def match(first, second):
    """CSR matrices of ones (U, I), (V, J) -> Matching, of the round that tells most nodes apart."""
    kept = [[np.flatnonzero(np.diff(lines.indptr)) for lines in (matrix, matrix.T.tocsr())]
            for matrix in (first, second)]
    pair = [Colours(matrix[users][:, items]) for matrix, (users, items) in zip((first, second), kept, strict=True)]
    found, told, best, last = None, -1, 0, None
    for rounds in count():
        now = [colours.count() for colours in pair]
        places = [same_nodes(pair[0].users, pair[1].users), same_nodes(pair[0].items, pair[1].items)]
        if (matched := sum((side >= 0).sum() for side in places)) > told:
            found, told, best = places, matched, rounds
        if now == last:
            break
        last = now
        for colours in pair:
            colours.refine()
    numbers = [np.full(size, -1) for size in second.shape]
    for side, places in enumerate(found):
        numbers[side][kept[1][side]] = np.where(places >= 0, kept[0][side][places], -1) if len(kept[0][side]) else -1
    alike = all(np.array_equal(np.sort(ours), np.sort(theirs)) for ours, theirs in
                ((pair[0].users, pair[1].users), (pair[0].items, pair[1].items)))
    return Matching(*numbers, best, alike)


def common_edges(first, second, matching):
    """(edges between matched nodes in the first graph, in the second, in both)."""
    users, items = matching.users, matching.items
    here = second[users >= 0][:, items >= 0]
    there = first[users[users >= 0]][:, items[items >= 0]]
    return there.nnz, here.nnz, here.multiply(there).nnz
