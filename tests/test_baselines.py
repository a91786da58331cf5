"""All baselines in training; those without features against plain float64 loops or matrices, and in whole runs."""
import io
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import (
    N_ITEMS,
    N_USERS,
    NEGATIVES,
    POSITIVES,
    USERS,
    all_scores,
    close,
    lightgcn,
    links_of,
    loopless,
    make_dataset,
    make_model,
    planted,
    result_of_run,
    triple_losses,
    weights,
    write_dataset,
)

from Baselines import BASELINES, common, hccf, ials, itemknn, ncl
from DataHandler import NegativeSampler, UserRows
from Main import main, train_steps
from Utils import Plain
from Utils.Errors import InputError
from Utils.Pass import Pass

CONTRASTED = ('sgl', 'ncl', 'hccf')
BOTH = N_USERS, N_ITEMS


def trainable(model):
    """Every parameter in float64, by name, to take gradients of."""
    return {name: table.requires_grad_() for name, table in weights(model).items()}


def generator_like(model):
    """One that will draw what the model's will."""
    generator = torch.Generator()
    generator.set_state(model.generator.get_state())
    return generator


def check_losses(model, w, expected):
    """Each term of the model's loss, and the gradients of their sum; every parameter has one."""
    terms = model.losses(USERS, POSITIVES, NEGATIVES)
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        close(terms[name], value)
    for each in (terms, expected):
        sum(each.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.any(), name
        close(parameter.grad, w[name].grad)


def embeds_of(w):
    return w['user_embeds'], w['item_embeds']


def scores_of(tables):
    return tables[0] @ tables[1].T


def contrast(a, b, temp):
    """Of the pairs (users, items): the batch's rows of a against all of b, users and items."""
    return sum(Plain.nce(a[side][index], b[side], temp, index) for side, index in enumerate((USERS, POSITIVES)))


def dropped(table, rate, generator):
    if not rate:
        return table
    kept = torch.rand(table.shape, generator=generator) >= rate
    return torch.where(kept, table / (1 - rate), torch.zeros_like(table))


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


@pytest.mark.parametrize('n_layers', [0, 1, 3])
def test_lightgcn_is_its_formula(rng, n_layers):
    dataset = make_dataset(rng)
    model = make_model('lightgcn', dataset, f'--gnn_layer {n_layers} --reg 0.3')
    w = trainable(model)
    scores = scores_of(lightgcn(links_of(dataset), *embeds_of(w), n_layers))
    close(all_scores(model), scores)
    check_losses(model, w, triple_losses(scores, embeds_of(w), 0.3))


@pytest.mark.parametrize('drop', [0, 0.4])
def test_ngcf_is_its_formula(rng, drop):
    dataset = make_dataset(rng)
    model = make_model('ngcf', dataset, f'--gnn_layer 2 --reg 0.3 --message_drop {drop}')
    w, adj = trainable(model), loopless(links_of(dataset))
    identity = torch.eye(len(adj), dtype=torch.float64)

    def outputs(drop):
        generator = generator_like(model)
        nodes = torch.cat(embeds_of(w))
        collected = [nodes]
        for number in range(2):
            message = ((adj + identity) @ nodes @ w[f'sum_weights.{number}']
                       + (adj @ nodes * nodes) @ w[f'product_weights.{number}'])
            nodes = torch.where(message > 0, message, 0.2 * message)
            nodes = torch.cat([dropped(table, drop, generator) for table in nodes.split(BOTH)])
            collected.append(Plain.unit(nodes))
        return torch.cat(collected, 1).split(BOTH)

    close(all_scores(model), scores_of(outputs(0)))
    check_losses(model, w, triple_losses(scores_of(outputs(drop)), embeds_of(w), 0.3))


def test_sgl_is_its_formula(rng):
    dataset = make_dataset(rng)
    model = make_model('sgl', dataset, '--gnn_layer 2 --reg 0.3 --ssl_reg 0.7 --temp 0.4 --edge_drop 0.4')
    model.begin_epoch(None)
    w, links = trainable(model), links_of(dataset)
    views = []
    for kept in model.kept:
        some = links.clone()
        some[links > 0] = kept.double()  # one by one, user by user
        views.append(lightgcn(some, *embeds_of(w), 2))
    scores = scores_of(lightgcn(links, *embeds_of(w), 2))
    close(all_scores(model), scores)
    check_losses(model, w, {**triple_losses(scores, embeds_of(w), 0.3), 'cl': 0.7 * contrast(*views, 0.4)})


def test_sgl_draws_two_graphs_an_epoch(rng):
    dataset = make_dataset(rng)
    model = make_model('sgl', dataset, '--edge_drop 0.3')
    draws = []
    for _ in range(200):
        model.begin_epoch(None)
        draws.append(model.kept.double())
    kept = torch.stack(draws)  # (epochs, 2, interactions)
    within = 5 * (0.21 / kept.numel()) ** 0.5
    assert abs(kept.mean() - 0.7) < within
    one, two = kept[:, 0], kept[:, 1]
    for other in (two, one.roll(1, 0)):  # independent: as often kept in both as chance has it
        assert abs((one * other).mean() - 0.49) < 5 * (0.49 * 0.51 / one.numel()) ** 0.5


def lloyd(points, centroids, iterations):
    """Centroids, and the nearest one of each point."""
    def nearest():
        return torch.tensor([int((centroids - point).square().sum(1).argmin()) for point in points])

    for _ in range(iterations):
        clusters = nearest()
        centroids = torch.stack([points[clusters == number].mean(0) if (clusters == number).any() else centroid
                                 for number, centroid in enumerate(centroids)])
    return centroids, nearest()


@pytest.mark.parametrize('iterations', [0, 1, 20])
def test_k_means_is_lloyds_iterations(rng, generator, monkeypatch, iterations):
    monkeypatch.setattr(ncl, 'ITERATIONS', iterations)
    monkeypatch.setattr(ncl, 'CHUNK', 7)
    points = torch.as_tensor(rng.normal(size=(40, 3)))
    draws = torch.Generator()
    draws.set_state(generator.get_state())
    expected = lloyd(points, points[torch.randperm(40, generator=draws)[:5]], iterations)
    torch.testing.assert_close(ncl.k_means(points, 5, generator), expected)


def test_a_centroid_without_points_stays(generator):
    points = torch.tensor([[3.0, 1.0], [3.0, 1.0], [3.0, 1.0], [-5.0, 2.0]])
    centroids, clusters = ncl.k_means(points, 4, generator)
    assert torch.equal(centroids[clusters], points)
    assert sorted(centroids.tolist()) == sorted(points.tolist())


@pytest.mark.parametrize('n_layers', [1, 3])
def test_ncl_is_its_formula(rng, n_layers):
    dataset = make_dataset(rng)
    model = make_model('ncl', dataset, f'--gnn_layer {n_layers} --reg 0.3 --ssl_reg 0.7 --proto_reg 0.2 --temp 0.4')
    w, links, draws = trainable(model), links_of(dataset), generator_like(model)
    prototypes = 0
    for table, index in zip(embeds_of(w), (USERS, POSITIVES), strict=True):
        points = table.detach()
        centroids, clusters = lloyd(points, points[torch.randperm(len(points), generator=draws)[:4]], 20)
        logits = Plain.unit(table)[index] @ Plain.unit(centroids).T / 0.4
        prototypes = prototypes + (logits.exp().sum(1).log() - logits[torch.arange(4), clusters[index]]).mean()
    model.begin_epoch(None)
    adj = loopless(links)
    even = (adj @ adj @ torch.cat(embeds_of(w))).split(BOTH)
    scores = scores_of(lightgcn(links, *embeds_of(w), n_layers))
    close(all_scores(model), scores)
    check_losses(model, w, {**triple_losses(scores, embeds_of(w), 0.3), 'cl': 0.7 * contrast(even, embeds_of(w), 0.4),
                            'proto': 0.2 * prototypes})


@pytest.mark.parametrize('drop', [0, 0.4])
def test_hccf_is_its_formula(rng, drop):
    dataset = make_dataset(rng)
    model = make_model('hccf', dataset, '--gnn_layer 2 --reg 0.3 --ssl_reg 0.7 --temp 0.4 --hyperedges 5 '
                                        f'--edge_drop {drop}')
    w = trainable(model)

    def layers(drop):
        generator, adj = generator_like(model), loopless(links_of(dataset))
        if drop:
            torch.rand(sum(BOTH), generator=generator)  # of the loops, which this graph has none of
            for block in (adj[:N_USERS, N_USERS:], adj[N_USERS:, :N_USERS]):  # each direction alone
                linked = block > 0
                kept = torch.rand(int(linked.sum()), generator=generator) < 1 - drop
                block[linked] *= kept / (1 - drop)
        hyper = [dropped(hccf.HYPER_SCALE * table @ w[f'{side}_hyper'], drop, generator)
                 for side, table in zip(('user', 'item'), embeds_of(w), strict=True)]
        edges = torch.block_diag(*(table @ table.T for table in hyper))
        nodes = total = torch.cat(embeds_of(w))
        cl = 0
        for _ in range(2):
            near, far = adj @ nodes, edges @ nodes
            nodes = near + far
            total = total + nodes
            cl = cl + contrast(near.detach().split(BOTH), far.split(BOTH), 0.4)
        return scores_of(total.split(BOTH)), cl

    close(all_scores(model), layers(0)[0])
    scores, cl = layers(drop)
    check_losses(model, w, {**triple_losses(scores, embeds_of(w), 0.3), 'cl': 0.7 * cl})


def test_a_sample_of_the_nodes_is_an_unbiased_pick(generator):
    users, items = torch.arange(5), 10 + torch.arange(5)
    counts = torch.zeros(5, 5)
    for _ in range(2000):
        some, theirs = common.contrast_nodes(users, items, 2, generator)
        assert torch.equal(theirs, 10 + some)
        counts[min(some), max(some)] += 1
    assert not counts.diagonal().any()  # without replacement
    often = counts[torch.ones(5, 5).triu(1) > 0]
    assert (often - 200).abs().max() < 6 * 180**0.5  # every pair alike
    for n in (None, 5, 6):
        assert all(torch.equal(*pair) for pair in
                   zip(common.contrast_nodes(users, items, n, generator), (users, items), strict=True))


@pytest.mark.parametrize('name', CONTRASTED)
def test_the_contrast_of_a_sample_is_an_unbiased_estimate(rng, name):
    """Of a single node it is one of the batch's, whose mean is that of the whole batch."""
    dataset = make_dataset(rng)
    batch = torch.tensor([4, 0, 12]), torch.tensor([1, 10, 3]), torch.tensor([2, 2, 5])
    flags = '--edge_drop 0 --ssl_reg 1 --proto_reg 1 --cl_sample'
    whole, sampled = (make_model(name, dataset, f'{flags} {n}') for n in (3, 1))
    for model in (whole, sampled):
        model.begin_epoch(None)
    for term in {'cl', 'proto'} & whole.losses(*batch).keys():
        seen = {round(sampled.losses(*batch)[term].item(), 6) for _ in range(60)}
        assert len(seen) == 3
        assert sum(seen) / 3 == pytest.approx(whole.losses(*batch)[term].item(), abs=1e-5)


class InTraining:
    """A model with what the loop has beside it, trained epoch by epoch."""

    def __init__(self, name, dataset, seed):
        self.model = make_model(name, dataset, '--cl_method 1 --sampling_noise --cl_sample 9', seed)
        parameters = list(self.model.loop_parameters())
        self.optimiser = torch.optim.Adam(parameters, 0.01) if parameters else None
        self.sampler = NegativeSampler(UserRows(dataset.train))

    def epochs(self, n):
        for _ in range(n):
            self.model.begin_epoch(lambda: None)
            self.steps()
        return self.model.scores()(torch.arange(N_USERS))

    def steps(self):
        if self.optimiser:
            generator = self.model.generator
            steps = Pass(len(self.sampler), generator, negatives=self.sampler.sample(generator))
            train_steps(self.model, self.optimiser, self.sampler, 16, steps, lambda: None)

    def state(self):
        """As read back from a file."""
        file = io.BytesIO()
        torch.save([self.model.state_dict(), self.optimiser and self.optimiser.state_dict(),
                    self.model.generator.get_state()], file)
        file.seek(0)
        return torch.load(file, weights_only=True)

    def restore(self, state):
        model, optimiser, generator = state
        self.model.load_state_dict(model)
        if self.optimiser:
            self.optimiser.load_state_dict(optimiser)
        self.model.generator.set_state(generator)


WIDTHS = {'image': 5, 'text': 3}


@pytest.mark.parametrize('name', BASELINES)
def test_the_seed_decides_everything(rng, name):
    """Where there is anything to decide."""
    dataset = make_dataset(rng, WIDTHS)
    scores = InTraining(name, dataset, 5).epochs(2)
    assert torch.equal(InTraining(name, dataset, 5).epochs(2), scores)
    assert torch.equal(InTraining(name, dataset, 6).epochs(2), scores) == BASELINES[name].closed_form


@pytest.mark.parametrize('name', [name for name, model in BASELINES.items() if not model.closed_form])
def test_the_state_holds_all_that_training_goes_on_with(rng, name):
    """After an epoch, and in the middle of the next: saved, and taken up by a model of another seed."""
    dataset = make_dataset(rng, WIDTHS)
    training, other = InTraining(name, dataset, 5), InTraining(name, dataset, 6)
    training.epochs(1)
    training.model.begin_epoch(lambda: None)
    training.steps()
    other.restore(training.state())
    for each in (training, other):
        each.steps()  # more of the same epoch: begin_epoch is not called again
    users = torch.arange(N_USERS)
    assert torch.equal(other.model.scores()(users), training.model.scores()(users))
    assert torch.equal(other.epochs(1), training.epochs(1))


@pytest.mark.parametrize('flags', ['itemknn --neighbours 19', 'ease', 'ials --epoch 4 --reg 0.01', 'mfbpr', 'ngcf',
                                   'lightgcn', 'sgl', 'ncl --clusters 2', 'hccf --hyperedges 8'])
def test_withheld_items_are_found(rng, tmp_path, flags):
    result = result_of_run(tmp_path, rng, flags)
    assert result['best_val']['test']['recall'] > 0.9
    assert result['popularity']['recall'] < 0.5


def test_popularity_is_the_bar_itself(rng, tmp_path):
    result = result_of_run(tmp_path, rng, 'pop')
    assert result['best_test'].pop('epoch') == 0
    assert result['best_test'] == result['best_val']['test'] == result['popularity']


@pytest.mark.parametrize(('flags', 'sentence'), [
    ('ncl --clusters 41', '--clusters 41 is too many for the 60 users and 40 items of tiny: lower it.'),
    ('itemknn --neighbours 40', '--neighbours 40 is too many for the 40 items of tiny: lower it.'),
    ('ials --reg 0', '--reg 0 leaves ials with equations that may have no single solution: give it more.')])
def test_a_flag_that_cannot_be_is_one_sentence(rng, tmp_path, capsys, flags, sentence):
    write_dataset(tmp_path / 'tiny', *planted(rng))
    assert main(f'--data tiny --data_dir {tmp_path} --out {tmp_path / "run"} --device cpu --model {flags}'.split()) == 2
    assert capsys.readouterr().err == f'Main.py: {sentence}\n'


def test_a_ridge_that_is_too_small_is_one_sentence(rng):
    """Every item has the same users: R'R is singular."""
    dataset = make_dataset(rng)
    dataset = replace(dataset, train=type(dataset.train)(np.ones(dataset.train.shape, np.float32)))
    with pytest.raises(InputError, match='--ridge is so small'):
        make_model('ease', dataset, '--ridge 1e-12').begin_epoch(None)


@pytest.mark.parametrize(('name', 'flags'), [('ncl', f'--clusters {min(BOTH)}'),
                                             ('itemknn', f'--neighbours {N_ITEMS - 1}')])
def test_as_many_as_there_are_will_do(rng, name, flags):
    model = make_model(name, make_dataset(rng), flags)
    model.begin_epoch(None)
    assert all_scores(model).isfinite().all()
