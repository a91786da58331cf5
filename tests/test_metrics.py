"""Ranking metrics on hand-worked users, against counting loops, and against an independent library."""
from fractions import Fraction
from math import log2

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from conftest import random_matrix

from Benchmark import Plain
from DataHandler import UserRows
from Utils.Metrics import NAMES, evaluate, list_metrics, rank_items


def test_list_metrics_by_hand():
    hits = torch.tensor([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 1]], dtype=torch.bool)
    recall, ndcg, precision = list_metrics(hits, torch.tensor([2, 1, 4, 5]))
    assert recall.tolist() == [1, 1, 0, float(Fraction(3, 5))]
    assert ndcg.tolist() == pytest.approx([(1 + 1 / 2) / (1 + 1 / log2(3)), 1 / log2(3), 0, 1])
    assert precision.tolist() == [float(Fraction(2, 3)), float(Fraction(1, 3)), 0, 1]


def test_rank_items_leaves_out_and_orders():
    scores = torch.tensor([[0.1, 0.9, 0.5, 0.7], [4.0, 3, 2, 1]])
    top = rank_items(scores, (torch.tensor([0, 1, 1, 1]), torch.tensor([1, 0, 1, 3])), 3)
    assert top.tolist() == [[3, 2, 0], [2, -1, -1]]


def test_hand_worked_data_set():
    """Three users, four items: user 2 has nothing withheld, user 1 has one hit at rank 1."""
    train = UserRows(sp.csr_matrix([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], dtype=np.float32))
    test = UserRows(sp.csr_matrix([[0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]], dtype=np.float32))
    scores = torch.tensor([[9.0, 3, 1, 2], [1, 9, 2, 3], [1, 2, 3, 4]])
    for chunk in (1, 2, 9):
        result = evaluate(lambda users: scores[users], train, {'test': test}, 2, chunk)['test']
        assert result.users.tolist() == [0, 1]
        assert result.recall.tolist() == [0.5, 1]
        assert result.ndcg.tolist() == pytest.approx([1 / (1 + 1 / log2(3)), 1 / log2(3)])
        assert result.precision.tolist() == [0.5, 0.5]


@pytest.fixture
def splits(rng):
    """Training and two withheld splits without overlap, and random scores without ties."""
    dense = random_matrix(rng, 30, 25, 0.5).toarray()
    part = rng.integers(0, 3, dense.shape)
    matrices = [sp.csr_matrix(dense * (part == number)) for number in range(3)]
    return matrices, torch.as_tensor(rng.permutation(30 * 25).reshape(30, 25).astype(np.float32))


@pytest.mark.parametrize('k', [1, 5, 25])
def test_against_counting(splits, k):
    (train, val, test), scores = splits
    results = evaluate(lambda users: scores[users], UserRows(train), {'val': UserRows(val), 'test': UserRows(test)},
                       k, 7)
    for name, withheld in (('val', val), ('test', test)):
        users = np.flatnonzero(withheld.getnnz(1))
        assert results[name].users.tolist() == users.tolist()
        rankings = {user: sorted(set(range(25)) - set(train[user].indices), key=lambda item: -scores[user, item])
                    for user in users}
        expected = [Plain.ranked_metrics(rankings[user], set(withheld[user].indices), k) for user in users]
        for metric, values in zip(NAMES, zip(*expected, strict=True), strict=True):
            np.testing.assert_allclose(getattr(results[name], metric), values)
            assert results[name].means()[metric] == pytest.approx(np.mean(values))


def test_against_ir_measures(splits):
    import ir_measures
    from ir_measures import P, R, nDCG

    (train, _, test), scores = splits
    result = evaluate(lambda users: scores[users], UserRows(train), {'test': UserRows(test)}, 5, 256)['test']
    qrels = [ir_measures.Qrel(str(u), str(i), 1) for u, i in zip(*test.nonzero(), strict=True)]
    run = [ir_measures.ScoredDoc(str(u), str(i), float(scores[u, i])) for u in range(30) for i in range(25)
           if not train[u, i]]
    theirs = ir_measures.calc_aggregate([R @ 5, nDCG @ 5, P @ 5], qrels, run)
    for name, measure in zip(NAMES, (R @ 5, nDCG @ 5, P @ 5), strict=True):
        assert result.means()[name] == pytest.approx(theirs[measure])


def test_an_empty_split_has_no_users():
    rows = UserRows(sp.csr_matrix(np.eye(3, dtype=np.float32)))
    empty = UserRows(sp.csr_matrix((3, 3), dtype=np.float32))
    result = evaluate(lambda users: torch.zeros(len(users), 3), rows, {'val': empty}, 2, 4)['val']
    assert len(result.users) == 0
    assert np.isnan(result.means()['recall'])
