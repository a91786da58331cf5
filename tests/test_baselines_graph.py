"""The graph baselines without features against plain float64 loops or matrices."""
import pytest
import torch
from conftest import (
    N_ITEMS,
    N_USERS,
    POSITIVES,
    USERS,
    all_scores,
    check_losses,
    close,
    embeds_of,
    generator_like,
    lightgcn,
    links_of,
    loopless,
    make_dataset,
    make_model,
    scores_of,
    trainable,
    triple_losses,
)

from Baselines import common, hccf, ncl
from Benchmark import Plain

CONTRASTED = ('sgl', 'ncl', 'hccf')
BOTH = N_USERS, N_ITEMS


def contrast(a, b, temp):
    """Of the pairs (users, items): the batch's rows of a against all of b, users and items."""
    return sum(Plain.nce(a[side][index], b[side], temp, index) for side, index in enumerate((USERS, POSITIVES)))


def dropped(table, rate, generator):
    if not rate:
        return table
    kept = torch.rand(table.shape, generator=generator) >= rate
    return torch.where(kept, table / (1 - rate), torch.zeros_like(table))


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


@pytest.mark.parametrize(('form', 'drop'), [('paper', 0), ('paper', 0.4), ('program', 0), ('program', 0.4)])
def test_hccf_is_its_formula(rng, form, drop):
    dataset = make_dataset(rng)
    model = make_model('hccf', dataset, '--gnn_layer 2 --reg 0.3 --ssl_reg 0.7 --temp 0.4 --hyperedges 5 '
                                        f'--edge_drop {drop} --hypergraph {form}')
    if form == 'program':  # whose hyperedges are not scaled: float32 has few digits left of a large sum
        for table in (model.user_hyper, model.item_hyper):
            table.data.mul_(0.3)
    w = trainable(model)

    def layers(drop):
        generator, adj = generator_like(model), loopless(links_of(dataset))
        if drop:
            torch.rand(sum(BOTH), generator=generator)  # of the loops, which this graph has none of
            for block in (adj[:N_USERS, N_USERS:], adj[N_USERS:, :N_USERS]):  # each direction alone
                linked = block > 0
                kept = torch.rand(int(linked.sum()), generator=generator) < 1 - drop
                block[linked] *= kept / (1 - drop)
        scale = hccf.HYPER_SCALE if form == 'paper' else 1
        hyper = [dropped(scale * table @ w[f'{side}_hyper'], drop, generator)
                 for side, table in zip(('user', 'item'), embeds_of(w), strict=True)]
        edges = torch.block_diag(*hyper)
        nodes = total = torch.cat(embeds_of(w))
        cl = 0

        def f(table):
            return torch.where(table > 0, table, table / 2)

        for _ in range(2):
            near, gathered = adj @ nodes, edges.T @ nodes
            if form == 'paper':
                mixes = torch.block_diag(w['user_mix'], w['item_mix'])
                near, far = f(near), f(edges @ (f(mixes @ gathered) + gathered))
                nodes = near + far + nodes
            else:
                far = edges @ gathered
                nodes, near = near + far, near.detach()
            total = total + nodes
            cl = cl + contrast(near.split(BOTH), far.split(BOTH), 0.4)
        return total.split(BOTH), cl

    close(all_scores(model), scores_of(layers(0)[0]))
    outputs, cl = layers(drop)
    terms = {**triple_losses(scores_of(outputs), outputs, 0.3), 'cl': 0.7 * cl}
    if form == 'program':
        terms['reg'] = 0.3 * sum(table.square().sum() for table in w.values())
    check_losses(model, w, terms)


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
