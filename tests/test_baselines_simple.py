"""The baselines without a graph and without features against plain float64 loops."""
from itertools import pairwise

import pytest
import torch
from conftest import (
    N_ITEMS,
    N_USERS,
    all_scores,
    check_losses,
    close,
    embeds_of,
    links_of,
    make_dataset,
    make_model,
    scores_of,
    trainable,
    triple_losses,
    weights,
)

from Baselines import ials, itemknn


def test_popularity_counts(rng):
    dataset = make_dataset(rng)
    counts = [sum(float(dataset.train[user, item]) for user in range(N_USERS)) for item in range(N_ITEMS)]
    assert all_scores(make_model('pop', dataset)).tolist() == [counts] * N_USERS


@pytest.mark.parametrize('shrink', [0, 3])
def test_itemknn_is_its_formula(rng, monkeypatch, shrink):
    """Which of several items of the same similarity are kept is left open."""
    monkeypatch.setattr(itemknn, 'BLOCK', 4)
    dataset = make_dataset(rng)
    model = make_model('itemknn', dataset, f'--shrink {shrink}')
    model.begin_epoch(None)
    links, kept = links_of(dataset), model.neighbours.tolist()
    expected = torch.zeros(N_USERS, N_ITEMS, dtype=torch.float64)
    for i, neighbours in enumerate(kept):
        similarities = {}
        for j in set(range(N_ITEMS)) - {i}:
            both, lengths = links[:, i] @ links[:, j], (links[:, i].sum() * links[:, j].sum()).sqrt()
            similarities[j] = float(both / (lengths + shrink)) if both else 0.0
        assert len({*neighbours} - {i}) == 5
        close(model.similarities[i], torch.tensor(sorted(similarities.values())[:-6:-1], dtype=torch.float64))
        close(model.similarities[i], torch.tensor([similarities[j] for j in neighbours], dtype=torch.float64))
        for user in range(N_USERS):
            for j in neighbours:
                expected[user, j] += links[user, i] * similarities[j]
    close(all_scores(model), expected)


@pytest.mark.parametrize('ridge', [0.5, 20])
def test_ease_regresses_every_item_on_the_others(rng, ridge):
    """Column j of B, by ridge regression of the items but j on item j."""
    dataset = make_dataset(rng)
    model = make_model('ease', dataset, f'--ridge {ridge}')
    model.begin_epoch(None)
    links = links_of(dataset)
    matrix = torch.zeros(N_ITEMS, N_ITEMS, dtype=torch.float64)
    for j in range(N_ITEMS):
        others = [i for i in range(N_ITEMS) if i != j]
        known = links[:, others]
        matrix[others, j] = torch.linalg.solve(known.T @ known + ridge * torch.eye(N_ITEMS - 1, dtype=torch.float64),
                                               known.T @ links[:, j])
    close(model.weights, matrix)
    close(all_scores(model), links @ matrix)


def least_squares(links, fixed, alpha, reg):
    solved = []
    for row in links:
        equations = reg * (row.sum() + alpha * len(row)) * torch.eye(fixed.shape[1], dtype=torch.float64)
        for link, vector in zip(row, fixed, strict=True):
            equations = equations + (link + alpha) * torch.outer(vector, vector)
        solved.append(torch.linalg.solve(equations, row @ fixed))
    return torch.stack(solved)


def ials_objective(links, users, items, alpha, reg):
    loss = 0.0
    for u, user in enumerate(users):
        loss += reg * (links[u].sum() + alpha * len(items)) * (user**2).sum()
        for i, item in enumerate(items):
            loss += links[u, i] * (user @ item - 1)**2 + alpha * (user @ item)**2
    for i, item in enumerate(items):
        loss += reg * (links[:, i].sum() + alpha * len(users)) * (item**2).sum()
    return float(loss)


@pytest.mark.parametrize('entries', [1, 20, 2**14])
def test_a_sweep_of_ials_solves_its_normal_equations(rng, monkeypatch, entries):
    monkeypatch.setitem(ials.ENTRIES, 'cpu', entries)
    dataset = make_dataset(rng)
    model = make_model('ials', dataset, '--alpha 0.3 --reg 0.02')
    links = links_of(dataset)
    users = least_squares(links, weights(model)['item_embeds'], 0.3, 0.02)
    items = least_squares(links.T, users, 0.3, 0.02)
    figures = model.begin_epoch(None)
    for ours, plain in zip(embeds_of(weights(model)), (users, items), strict=True):
        close(ours, plain)
    close(all_scores(model), users @ items.T)
    assert figures == {'objective': pytest.approx(ials_objective(links, users, items, 0.3, 0.02), rel=1e-5)}


@pytest.mark.parametrize('flags', ['--alpha 0.3 --reg 0.02', '--alpha 2 --reg 1e-5'])
def test_no_sweep_of_ials_raises_the_objective(rng, generator, flags):
    model = make_model('ials', make_dataset(rng), flags)
    objectives = [model.objective(), *(model.begin_epoch(None)['objective'] for _ in range(8))]
    assert objectives[1] < 0.9 * objectives[0]
    for before, after in pairwise(objectives):
        assert after <= before * (1 + 1e-6)  # the rounding of embeddings in float32
    solved = model.item_embeds.clone()
    nudge = 0.01 * torch.randn(solved.shape, generator=generator)
    for moved in (solved + nudge, solved - nudge):
        model.item_embeds.copy_(moved)
        assert model.objective() > objectives[-1]


def test_mfbpr_is_its_formula(rng):
    model = make_model('mfbpr', make_dataset(rng), '--reg 0.3')
    w = trainable(model)
    scores = scores_of(embeds_of(w))
    close(all_scores(model), scores)
    check_losses(model, w, triple_losses(scores, embeds_of(w), 0.3))
