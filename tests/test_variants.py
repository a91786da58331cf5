"""Flags of MDMNS beyond the release, each against a plain form in float64."""
import json
from dataclasses import replace

import pytest
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from conftest import item_graph
from test_model import dense_of, make_dataset, make_model, project, step

from Baselines import MODELS
from Benchmark import Plain
from DataHandler import NegativeSampler
from Experiments.Grids import read_grids, words_of
from Experiments.Search import Space
from Experiments.Tables import ROOT
from Model import slot
from Params import parse
from Runs.Flags import flags_read

SEARCH = ROOT / 'Baselines' / 'search.json'
WIDTHS = {'image': 5, 'text': 3}


def double_outputs(model):
    return {name: tuple(table.detach().double() for table in pair)
            for name, pair in model.outputs(model.project()).items()}


def triple_of(model):
    sampler = NegativeSampler(model.rows)
    return sampler.users[:9], sampler.positives[:9], sampler.sample(model.generator)[:9]


def close(ours, plain):
    torch.testing.assert_close(ours.detach().double(), plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('loss', ['bpr', 'softmax'])
@pytest.mark.parametrize('fused', ['released', 'trained', 'joint'])
@pytest.mark.parametrize('score', ['sum', 'fused'])
def test_what_is_ranked_and_what_is_scored(rng, loss, fused, score):
    model = make_model(make_dataset(rng, WIDTHS), f'--loss {loss} --fused {fused} --score {score} --loss_temp 0.3')
    model.rebuild_graphs()
    outputs, (users, positives, negatives) = double_outputs(model), triple_of(model)
    tables = {name: tuple(map(Plain.unit, pair)) for name, pair in outputs.items()} if loss == 'softmax' else outputs
    scored = ['fused'] if score == 'fused' else list(outputs)
    scores = sum(tables[name][0] @ tables[name][1].T for name in scored)
    close(model.scores()(torch.arange(13)), scores)

    def loss_of(products, n=1):
        if loss == 'bpr':
            return -F.logsigmoid(products[users, positives] - products[users, negatives]).sum() / 16
        return F.cross_entropy(products[users] / n / 0.3, positives, reduction='sum') / 16

    if fused == 'joint':
        expected = loss_of(scores, len(scored))
    else:
        expected = sum(loss_of(tables[name][0] @ tables[name][1].T) for name in outputs
                       if name != 'fused' or fused == 'trained')
    close(model.losses(users, positives, negatives)[loss], expected)


@pytest.mark.parametrize('decay', ['batch', 'outputs'])
def test_decay_of_a_batch(rng, decay):
    model = make_model(make_dataset(rng, WIDTHS), f'--decay {decay} --reg 0.3 --fused trained')
    model.rebuild_graphs()
    triple = triple_of(model)
    pairs = double_outputs(model).values() if decay == 'outputs' else [
        (model.user_embeds.detach().double(), model.item_embeds.detach().double())]
    expected = sum(users[u].square().sum() + items[p].square().sum() + items[n].square().sum()
                   for users, items in pairs for u, p, n in zip(*triple, strict=True)) / 2 / 9
    close(model.losses(*triple)['reg'], 0.3 * expected)


def test_noised_copies_of_the_fused_items(rng):
    """The trained fused output has them, the released one has not: the difference of the contrasts."""
    dataset, contrasts = make_dataset(rng, WIDTHS), {}
    for fused in ('released', 'trained'):
        model = make_model(dataset, f'--fused {fused} --cl_method 1 --noise_levels 0 0 --ssl_reg 1')
        model.rebuild_graphs()
        contrasts[fused] = model.losses(*triple_of(model))['cl']
    items = double_outputs(model)['fused'][1]
    close(contrasts['trained'] - contrasts['released'], 2 * Plain.nce(items, items, 0.5, torch.arange(11)))


@pytest.mark.parametrize('flags', ['--layers mean', '--item_lambda 0.6 --item_links 4 --item_layers 2'])
def test_outputs(rng, flags):
    """Layers that are averaged, and items that are helped by items of like features."""
    dataset = make_dataset(rng, WIDTHS)
    model = make_model(dataset, f'{flags} --keepRate 1 --gnn_layer 2')
    model.rebuild_graphs()
    with torch.no_grad():
        model.modal_weight.copy_(torch.tensor([0.0, 1.0]))
    n_users, train = 13, Plain.adjacency(dense_of(dataset.train))
    users, items = model.user_embeds.detach().double(), model.item_embeds.detach().double()
    weights = torch.softmax(torch.tensor([0.0, 1.0], dtype=torch.float64), 0)
    helps = {}
    for name, table in dataset.features.items():
        graph = item_graph(torch.as_tensor(table).double(), 4)
        helps[name] = 0.6 * graph @ graph @ items if 'item' in flags else 0 * items
    helps['fused'] = sum(weight * helps[name] for weight, name in zip(weights, WIDTHS, strict=True))

    def hidden(name, table, graph):
        h = train @ torch.cat([users, Plain.unit(table)])
        h = h + train @ torch.cat([h[:n_users], items]) + 0.2 * graph @ torch.cat([users, items])
        return torch.cat([h[:n_users], h[n_users:] + helps[name]])

    tables = {name: hidden(name, project(model, name, torch.as_tensor(table).double(), 0),
                           model.modal_adj[name].whole().to_dense().double())
              for name, table in dataset.features.items()}
    mixed = sum(weight * tables[name] for weight, name in zip(weights, WIDTHS, strict=True))
    tables['fused'] = hidden('fused', mixed[n_users:], train)
    for name, h in tables.items():
        total = h + train @ h + train @ train @ h
        close(torch.cat(model.outputs(model.project())[name]),
              (total / 3 if 'mean' in flags else total) + 0.5 * Plain.unit(h))


@pytest.mark.parametrize('flags', ['--rebuild_from new', '--rebuild_weights sample',
                                   '--rebuild_from new --rebuild_weights sample'])
def test_rebuilt_graphs(rng, flags):
    """A user who has all items but one has a single new one."""
    dataset = make_dataset(rng, WIDTHS)
    full = dense_of(dataset.train)
    full[3], full[3, 5] = 1, 0
    train = sp.csr_matrix(full.numpy().astype('float32'))
    model = make_model(replace(dataset, train=train), f'{flags} --rebuild_k 3 --keepRate 1')
    for denoiser in model.denoisers.values():  # samples of either sign
        torch.nn.init.normal_(denoiser.last.weight, generator=model.generator)
    model.rebuild_graphs()
    x_0 = model.rows.batch(torch.arange(13)).dense()
    for name in model.modalities:
        with torch.no_grad():
            sample = model.diffusion.sample(model.denoisers[slot(name)], x_0).double()
        links = torch.zeros(13, 11, dtype=torch.float64)
        for user, row in enumerate(sample):
            open_to = [i for i in range(11) if 'new' not in flags or not x_0[user, i]]
            top = sorted(open_to, key=lambda i, row=row: -row[i])[:3]
            for item in top:
                links[user, item] = max(0, row[item]) / max(row[top[0]], 1e-12) if 'weights' in flags else 1
        close(model.modal_adj[name].whole().to_dense(), Plain.adjacency(links))


@pytest.mark.parametrize('flags', ['--guidance learned', '--guidance profile', '--guidance learned --norm',
                                   '--guidance learned --sampling_noise', '--loss softmax --fused joint --cl_method 1',
                                   '--fused trained --score fused --decay outputs --item_lambda 1 --item_links 4'])
@pytest.mark.parametrize('widths', [{'text': 3}, WIDTHS])
def test_an_epoch_trains_everything(rng, flags, widths):
    dataset = make_dataset(rng, widths)
    model = make_model(dataset, flags)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for _ in range(2):  # what lies behind a layer that begins at zero learns from the second step on
        model.begin_epoch()
    trained = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert trained == {name for name in before if name.startswith('denoisers.')}
    sum(step(model, dataset).values()).backward()
    assert all(parameter.grad.any() for parameter in model.loop_parameters() if parameter is not model.modal_weight)
    weighed = model.modal_weight.grad
    assert (weighed is not None and bool(weighed.any())) == ('--fused' in flags and len(widths) > 1)


@pytest.mark.parametrize('model', json.loads(SEARCH.read_text())['models'])
def test_the_search_is_of_flags_that_its_model_reads(model):
    """As many points as it is to try, each of which can be run."""
    grid, fixed = read_grids(SEARCH, model)
    settings = parse([*fixed, *words_of(next(iter(Space(grid).random(0))))])
    assert {'latdim'} & settings.given
    assert grid.keys() <= flags_read(MODELS[model])
    assert Space(grid).size() is None or Space(grid).size() >= 24
