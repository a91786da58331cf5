"""The baselines with graphs between items against plain float64 matrices."""
import pytest
import torch
from conftest import (
    N_ITEMS,
    N_USERS,
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

from Benchmark import Plain
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
