"""The baselines that use features: each against plain float64 loops or whole matrices, and in whole runs."""
from itertools import combinations

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
    generator_like,
    item_graph,
    lightgcn,
    links_of,
    make_dataset,
    make_model,
    projected,
    result_of_run,
    trainable,
    triple_losses,
    unit_features,
)

from Baselines import BASELINES, features
from Benchmark import Plain
from Model import slot
from Utils import ItemGraphs
from Utils.Errors import InputError
from Utils.Graph import Block

MODELS = [name for name, model in BASELINES.items() if model.needs_features]


def test_vbpr_is_its_formula(rng):
    dataset = make_dataset(rng, WIDTHS)
    model = make_model('vbpr', dataset, '--reg 0.3')
    torch.nn.init.normal_(model.item_bias, generator=model.generator)
    w, features = trainable(model), torch.cat([*unit_features(dataset).values()], 1)
    gamma_u, theta = w['user_embeds'].split(6, 1)
    embedding, beta = w['projection'][:, :6], w['projection'][:, 6]
    expected = torch.empty(N_USERS, N_ITEMS, dtype=torch.float64)
    for u in range(N_USERS):
        for i in range(N_ITEMS):
            expected[u, i] = (w['item_bias'][i, 0] + gamma_u[u] @ w['item_embeds'][i]
                              + theta[u] @ (embedding.T @ features[i]) + beta @ features[i])
    close(all_scores(model), expected)
    shown = torch.cat([features @ embedding, (features @ beta)[:, None] + w['item_bias']], 1)
    check_losses(model, w, triple_losses(expected, (w['user_embeds'], torch.cat([w['item_embeds'], shown], 1)), 0.3))


def test_lgcnm_is_a_lightgcn_of_each_part(rng):
    dataset = make_dataset(rng, WIDTHS)
    model = make_model('lgcnm', dataset, '--gnn_layer 2 --reg 0.3')
    w = trainable(model)
    items = [w['item_embeds'], *projected(w, dataset).values()]
    parts = zip(w['user_embeds'].split(6, 1), items, strict=True)
    expected = sum(users @ items.T for users, items in (lightgcn(links_of(dataset), *part, 2) for part in parts))
    close(all_scores(model), expected)
    check_losses(model, w, triple_losses(expected, (w['user_embeds'], torch.cat(items, 1)), 0.3))


@pytest.mark.parametrize('drop', [0, 0.4])
def test_bm3_is_its_formula(rng, drop):
    dataset = make_dataset(rng, WIDTHS)
    model = make_model('bm3', dataset, f'--gnn_layer 2 --reg 0.3 --ssl_reg 0.7 --embed_drop {drop}')
    w, generator = trainable(model), generator_like(model)

    def predicted(table):
        return table @ w['predictor.weight'].T + w['predictor.bias']

    def target(table):
        table = table.detach()
        if not drop:
            return table
        kept = torch.rand(table.shape, generator=generator) >= drop
        return torch.where(kept, table / (1 - drop), torch.zeros_like(table))

    def away(a, b):
        return 1 - sum((x @ y) / (x.norm() * y.norm()).clamp(min=1e-8) for x, y in zip(a, b, strict=True)) / len(a)

    user_table, item_table = lightgcn(links_of(dataset), w['user_embeds'], w['item_embeds'], 2)
    item_table = item_table + w['item_embeds']
    users, items = user_table[USERS], item_table[POSITIVES]
    item_target, user_target = target(items), target(users)
    shown = [table[POSITIVES] for table in projected(w, dataset).values()]
    check_losses(model, w, {
        'rec': away(predicted(users), item_target) + away(predicted(items), user_target),
        'align': 0.7 * sum(away(predicted(table), item_target) for table in shown),
        'mask': 0.7 * sum(away(predicted(table), target(table)) for table in shown),
        'reg': 0.3 * ((predicted(users)**2).sum() + (predicted(items)**2).sum()) / 8})
    close(all_scores(model), predicted(user_table) @ predicted(item_table).T)


def test_no_gradient_reaches_the_targets_of_bm3(rng):
    """Where the predictor sends everything to one constant, only targets could carry a gradient to the tables."""
    model = make_model('bm3', make_dataset(rng, WIDTHS), '--reg 0')
    torch.nn.init.zeros_(model.predictor.weight)
    sum(model.losses(USERS, POSITIVES, NEGATIVES).values()).backward()
    assert model.predictor.bias.grad.abs().sum() > 0
    assert not model.user_embeds.grad.any()
    assert not model.item_embeds.grad.any()


def test_item_graph_against_loops(rng, monkeypatch):
    monkeypatch.setattr(ItemGraphs, 'BLOCK', 3)
    table = torch.as_tensor(rng.normal(size=(N_ITEMS, 4))).requires_grad_()
    found, neighbours = ItemGraphs.nearest(table.detach(), 5)
    cosines = ItemGraphs.cosines_with(table, neighbours)
    torch.testing.assert_close(cosines.detach(), found)
    ours = torch.zeros(N_ITEMS, N_ITEMS, dtype=torch.float64).scatter(1, neighbours,
                                                                    ItemGraphs.edge_weights(cosines, neighbours))
    expected = item_graph(table, 5)
    torch.testing.assert_close(ours, expected)
    pull = torch.as_tensor(rng.normal(size=(N_ITEMS, N_ITEMS)))
    torch.testing.assert_close(*(torch.autograd.grad((graph * pull).sum(), table)[0] for graph in (ours, expected)))


def test_an_item_without_features_has_no_links():
    table = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 0.1]], requires_grad=True)
    neighbours = ItemGraphs.nearest(table.detach(), 2)[1]
    values = ItemGraphs.edge_weights(ItemGraphs.cosines_with(table, neighbours), neighbours)
    values.sum().backward()
    assert not values[0].any()
    assert values[1:].isfinite().all()
    assert table.grad.isfinite().all()


def test_lattice_is_its_formula(rng):
    dataset = make_dataset(rng, WIDTHS)
    model = make_model('lattice', dataset, '--gnn_layer 2 --item_layers 2 --graph_skip 0.3 --reg 0.3')
    with torch.no_grad():
        model.modal_weight.copy_(torch.tensor([0.5, -1]))
    model.begin_epoch(None)
    w = trainable(model)
    graph = sum(share * (0.3 * item_graph(raw, 4) + 0.7 * item_graph(learned, 4)) for share, raw, learned in
                zip(w['modal_weight'].softmax(0), unit_features(dataset).values(),
                    projected(w, dataset).values(), strict=True))
    users, items = lightgcn(links_of(dataset), w['user_embeds'], w['item_embeds'], 2)
    expected = users @ (items + Plain.unit(graph @ graph @ w['item_embeds'])).T
    close(all_scores(model), expected)
    check_losses(model, w, triple_losses(expected, (w['user_embeds'], w['item_embeds']), 0.3))


def test_the_learned_links_follow_the_projection_from_the_next_epoch(rng):
    model = make_model('lattice', make_dataset(rng, WIDTHS))
    model.begin_epoch(None)
    before = model.neighbours.clone()
    with torch.no_grad():
        model.projections.layers[slot('text')].weight.neg_().add_(torch.eye(6)[:, :3])
        model.projections.layers[slot('text')].bias.zero_()
    assert torch.equal(model.neighbours, before)
    model.begin_epoch(None)
    assert torch.equal(model.neighbours[0], before[0])
    assert torch.equal(model.neighbours[1], ItemGraphs.nearest(model.projections()['text'].detach(), 4)[1])
    assert not torch.equal(model.neighbours[1], before[1])


def test_an_item_has_no_more_links_than_there_are_items(rng):
    dataset = make_dataset(rng, WIDTHS)
    assert all_scores(make_model('lattice', dataset, f'--item_links {N_ITEMS}')).isfinite().all()
    with pytest.raises(InputError, match=f'--item_links {N_ITEMS + 1} is too many for the {N_ITEMS} items of random'):
        make_model('lattice', dataset, f'--item_links {N_ITEMS + 1}')


@pytest.mark.parametrize('method', [0, 1])
@pytest.mark.parametrize('widths', [{'audio': 2}, WIDTHS, {'image': 3, 'text': 4, 'audio': 5, 'sketch': 2}])
def test_diffmm_is_its_formula(rng, widths, method):
    dataset = make_dataset(rng, widths)
    model = make_model('diffmm', dataset, f'--cl_method {method} --gnn_layer 2 --ris_lambda 0.3 --ris_adj_lambda 0.7 '
                                          '--reg 0.3 --ssl_reg 0.2 --temp 0.4 --trans 1')
    model.begin_epoch()
    with torch.no_grad():
        model.modal_weight.copy_(torch.arange(len(widths)) * 0.5)
    w = trainable(model)
    adj = Plain.adjacency(links_of(dataset))
    embeds = torch.cat([w['user_embeds'], w['item_embeds']])
    mixed, views = 0, {}
    for share, (name, table) in zip(w['modal_weight'].softmax(0), dataset.features.items(), strict=True):
        graph = model.modal_adj[name].whole().to_dense().double()
        features = Plain.unit(torch.as_tensor(table).double() @ w[f'projections.{slot(name)}.weight'].T
                              + w[f'projections.{slot(name)}.bias'])
        hidden = adj @ torch.cat([w['user_embeds'], features])
        hidden = hidden + adj @ torch.cat([hidden[:N_USERS], w['item_embeds']]) + 0.7 * graph @ embeds
        mixed = mixed + share * hidden
        view = graph @ torch.cat([w['user_embeds'], features])
        views[name] = (view + adj @ view + adj @ adj @ view).split([N_USERS, N_ITEMS])
    output = mixed + adj @ mixed + adj @ adj @ mixed + 0.3 * Plain.unit(mixed)
    users, items = output.split([N_USERS, N_ITEMS])
    close(all_scores(model), users @ items.T)

    scores = users @ items.T
    pairs = [((users, items), view) for view in views.values()] if method else [*combinations(views.values(), 2)]
    contrast = sum(Plain.nce(a[side][nodes], b[side], 0.4, nodes) for a, b in pairs
                   for side, nodes in enumerate((USERS, POSITIVES)))
    check_losses(model, w, {
        'bpr': -F.logsigmoid(scores[USERS, POSITIVES] - scores[USERS, NEGATIVES]).mean(),
        'reg': 0.3 * (embeds**2).sum(), 'cl': 0.2 * torch.as_tensor(contrast, dtype=torch.float64)},
        idle=('modal_weight',) if len(widths) == 1 else ())  # the softmax of a single weight is 1


def test_the_denoisers_of_diffmm_see_rows_without_guidance(rng, monkeypatch):
    model = make_model('diffmm', make_dataset(rng, WIDTHS), '--guidance released')
    monkeypatch.setattr('Utils.Diffusion.fuse', lambda *_: pytest.fail('guided'))
    assert set(model.begin_epoch()) == {'diffusion_image', 'diffusion_text'}


@pytest.mark.parametrize('name', MODELS)
@pytest.mark.parametrize('widths', [{'items': 2}, WIDTHS, {'image': 3, 'text': 4, 'audio': 5, 'type': 2}])
def test_an_epoch_trains_everything(rng, name, widths):
    model = make_model(name, make_dataset(rng, widths), '--graph_skip 0.5')
    model.begin_epoch(lambda: None)
    sum(model.losses(USERS, POSITIVES, NEGATIVES).values()).backward()
    assert all(parameter.grad is not None for parameter in model.loop_parameters())
    if len(widths) > 1:  # the softmax of a single modality's weight is 1 whatever the weight
        assert all(parameter.grad.any() for parameter in model.loop_parameters())


@pytest.mark.parametrize('name', sorted({*MODELS} - {'diffmm'}))
def test_features_that_are_mostly_0_are_taken_as_what_they_are(rng, name, monkeypatch):
    dataset = make_dataset(rng, {'brand': 40, 'category': 30})
    for table in dataset.features.values():
        table *= np.eye(N_ITEMS, table.shape[1])[rng.permutation(N_ITEMS)]

    def trained():
        model = make_model(name, dataset, '--graph_skip 0.5')
        model.begin_epoch(lambda: None)
        terms = model.losses(USERS, POSITIVES, NEGATIVES)
        sum(terms.values()).backward()
        return {**terms, **{key: table.grad for key, table in model.named_parameters()}, 'scores': all_scores(model)}

    assert isinstance(features.held(torch.as_tensor(dataset.features['brand'])), Block)
    passed_over = trained()
    monkeypatch.setattr(features, 'SPARSE', -1)
    for key, expected in trained().items():
        torch.testing.assert_close(passed_over[key], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('name', BASELINES)
def test_who_needs_features_says_so(rng, name):
    model, dataset = BASELINES[name], make_dataset(rng, {})
    if not model.needs_features:
        make_model(name, dataset)
        return
    with pytest.raises(InputError, match=f'{model.__name__} needs the features of at least one modality'):
        make_model(name, dataset)


@pytest.mark.parametrize('flags', ['vbpr', 'lgcnm', 'bm3 --ssl_reg 1 --epoch 20', 'lattice', 'diffmm',
                                   'diffmm --cl_method 1', 'lattice --modalities text --item_links 40',
                                   'slmrec --temp 0.2', 'slmrec --ssl_task fm', 'mmgcl', 'mgcn', 'freedom', 'grcn',
                                   'clcrec', 'mmgcn'])
def test_withheld_items_are_found(rng, tmp_path, flags):
    result = result_of_run(tmp_path, rng, flags)
    assert result['best_val']['test']['recall'] > 0.8
    assert result['popularity']['recall'] < 0.5
