"""Graphs and their products against dense matrices in float64."""
import numpy as np
import pytest
import torch
from conftest import random_matrix

from Benchmark import Plain
from DataHandler import UserRows
from Utils.Graph import drop_entries, normalised_graph


def graph_and_twin(matrix):
    rows = UserRows(matrix)
    return normalised_graph(rows.users, rows.items, rows.shape, torch.float64), Plain.adjacency(
        torch.as_tensor(matrix.toarray(), dtype=torch.float64))


def check_product(graph, dense, n_users, generator):
    """Values and gradients of graph(users, items) against the dense matrix."""
    nodes = torch.randn(len(dense), 5, dtype=torch.float64, generator=generator, requires_grad=True)
    out = torch.cat(graph(nodes[:n_users], nodes[n_users:]))
    torch.testing.assert_close(out, dense @ nodes)
    weights = torch.randn(out.shape, dtype=torch.float64, generator=generator)
    grad, = torch.autograd.grad((weights * out).sum(), nodes)
    torch.testing.assert_close(grad, dense.T @ weights)


@pytest.mark.parametrize('shape', [(7, 5), (1, 6), (6, 1), (40, 30)])
def test_normalised_graph(rng, generator, shape):
    matrix = random_matrix(rng, *shape)  # at least one user and one item have no edge
    graph, twin = graph_and_twin(matrix)
    torch.testing.assert_close(graph.whole().to_dense(), twin)
    check_product(graph, twin, shape[0], generator)


def test_dropped_entries(rng, generator):
    graph, twin = graph_and_twin(random_matrix(rng, 40, 30))
    dropped = drop_entries(graph, 0.7, generator)
    dense = dropped.whole().to_dense()
    kept = dense != 0
    torch.testing.assert_close(dense[kept], twin[kept] / 0.7)
    check_product(dropped, dense, 40, generator)
    share = kept.sum() / (twin != 0).sum()
    assert 0.6 < share < 0.8
    assert not torch.equal(kept, kept.T), 'each direction is dropped alone'
    assert 0 < kept.diagonal().sum() < len(dense), 'loops are dropped too'


def test_keep_rate_one_keeps_all(rng, generator):
    graph, twin = graph_and_twin(random_matrix(rng, 9, 8))
    torch.testing.assert_close(drop_entries(graph, 1, generator).whole().to_dense(), twin)


def test_expectation_of_dropping(rng, generator):
    """Dividing by the keep rate leaves the mean as it was."""
    graph, twin = graph_and_twin(random_matrix(rng, 6, 5, 0.5))
    mean = sum(drop_entries(graph, 0.5, generator).whole().to_dense() for _ in range(2000)) / 2000
    assert np.abs((mean - twin).numpy()).max() < 0.15
