"""The baselines with graphs between items against plain float64 matrices."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import (
    N_ITEMS,
    N_USERS,
    NEGATIVES,
    POSITIVES,
    USERS,
    WIDTHS,
    all_scores,
    check_losses,
    close,
    embeds_of,
    in_batch,
    item_graph,
    lightgcn,
    linear,
    links_of,
    loopless,
    make_dataset,
    make_model,
    projected,
    scores_of,
    trainable,
    triple_losses,
    unit_features,
)
from scipy import sparse

from Benchmark import Plain
from DataHandler import UserRows
from Model import slot


@pytest.mark.parametrize('widths', [WIDTHS, {'image': 3, 'text': 4, 'audio': 5}])
def test_mgcn_is_its_formula(rng, widths):
    dataset = make_dataset(rng, widths)
    model = make_model('mgcn', dataset, '--gnn_layer 2 --item_layers 2 --reg 0.3 --ssl_reg 0.7 --temp 0.4')
    w, links = trainable(model), links_of(dataset)
    to_users = loopless(links)[:N_USERS, N_USERS:]
    behaviour = torch.cat(lightgcn(links, *embeds_of(w), 2))
    raw, views = unit_features(dataset), {}
    for name, table in projected(w, dataset).items():
        gate = 1 / (1 + (-linear(w, f'purifiers.{slot(name)}', table)).exp())
        graph = item_graph(raw[name], 4)
        items = graph @ (graph @ (w['item_embeds'] * gate))
        views[name] = torch.cat([to_users @ items, items])
    asked = [(torch.tanh(linear(w, 'query', view)) @ w['answer.weight'][0]).exp() for view in views.values()]
    shared = sum((weight / sum(asked))[:, None] * view for weight, view in zip(asked, views.values(), strict=True))
    side = shared
    for name, view in views.items():
        gate = 1 / (1 + (-linear(w, f'preferences.{slot(name)}', behaviour)).exp())
        side = side + gate * (view - shared)
    side = side / (len(views) + 1)
    outputs = (behaviour + side).split([N_USERS, N_ITEMS])
    close(all_scores(model), scores_of(outputs))
    contrast = sum(in_batch(*(Plain.unit(view.split([N_USERS, N_ITEMS])[kind][nodes]) for view in (side, behaviour)),
                            0.4) for kind, nodes in enumerate((USERS, POSITIVES)))
    check_losses(model, w, {**triple_losses(scores_of(outputs), outputs, 0.3), 'cl': 0.7 * contrast})


@pytest.mark.parametrize('widths', [{'items': 2}, {'image': 3, 'text': 4, 'audio': 5}])
def test_freedom_is_its_formula(rng, widths):
    dataset = make_dataset(rng, widths)
    model = make_model('freedom', dataset, '--gnn_layer 2 --item_layers 2 --reg 0.3 --ssl_reg 0.7 --edge_drop 0.6')
    model.begin_epoch(None)
    w, links = trainable(model), links_of(dataset)
    graph = sum(alike_items(table, 4) for table in unit_features(dataset).values()) / len(widths)
    helped = graph @ (graph @ w['item_embeds'])

    def outputs(some):
        users, items = lightgcn(some, *embeds_of(w), 2)
        return users, items + helped

    close(all_scores(model), scores_of(outputs(links)))
    some = links.clone()
    some[links > 0] = model.kept[0].double()
    users, items = outputs(some)
    modal = sum(-F.logsigmoid((users[USERS] * (table[POSITIVES] - table[NEGATIVES])).sum(1)).mean()
                for table in projected(w, dataset).values())
    check_losses(model, w, {**triple_losses(users @ items.T, embeds_of(w), 0.3), 'modal': 0.7 * modal})


def alike_items(table, k):
    """D^-1/2 S D^-1/2, S_ij = 1 for the k items j with the largest cosine to i, where it is positive."""
    cosines = table @ table.T
    s = torch.zeros_like(cosines)
    for i, row in enumerate(cosines.tolist()):
        for j in sorted(range(len(row)), key=row.__getitem__)[-k:]:
            s[i, j] = float(row[j] > 0)
    degrees = s.sum(1)
    return torch.tensor([[float(s[i, j] / (degrees[i] * degrees[j]) ** 0.5) if s[i, j] else 0.0
                          for j in range(len(s))] for i in range(len(s))], dtype=torch.float64)


def test_freedom_keeps_interactions_of_rare_nodes(rng):
    """As many as it says, and each of two as often as it was drawn by hand, one after the other."""
    dataset = make_dataset(rng, WIDTHS)
    model = make_model('freedom', dataset, '--edge_drop 0.75')
    n = dataset.train.nnz
    links = links_of(dataset)
    users, items = links.nonzero().T
    chances = (links.sum(1)[users] * links.sum(0)[items]) ** -0.5
    counts, expected = torch.zeros(n), torch.zeros(n)
    for _ in range(400):
        model.begin_epoch(None)
        assert model.kept.sum() == n // 4
        counts += model.kept[0]
        left = chances.numpy().copy()
        for _ in range(n // 4):
            drawn = rng.choice(n, p=left / left.sum())
            left[drawn] = 0
            expected[drawn] += 1
    differences = (counts - expected).abs() / (400 * 0.5) ** 0.5  # each a difference of two counts of 400 draws
    assert differences.max() < 5
    assert torch.corrcoef(torch.stack([counts.double(), chances]))[0, 1] > 0.5


def test_freedom_keeps_a_whole_share_whole(rng):
    model = make_model('freedom', make_dataset(rng, WIDTHS), '--edge_drop 0.8')
    model.rows = UserRows(sparse.csr_matrix(np.ones((5, 2))))
    assert model.drawn().sum() == 2


def test_an_item_without_features_has_no_link_in_freedom(rng):
    dataset = make_dataset(rng, {'image': 4})
    dataset.features['image'][2] = 0
    model = make_model('freedom', dataset)
    rows, columns, values = model.item_graphs[0].matrix.entries()
    assert not values[(rows == 2) | (columns == 2)].any()
    assert values.isfinite().all()
