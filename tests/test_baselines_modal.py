"""The baselines with a part for every modality against plain float64 matrices."""
import pytest
import torch
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
    in_batch,
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

from Baselines.edges import Edges
from Benchmark import Plain
from Model import slot

BATCH = torch.arange(len(USERS))


def all_squares(w):
    return sum((table**2).sum() for table in w.values())


def modal_lightgcn(w, links, shown, n_layers):
    """H of the ids and of every modality: [(users, items)]."""
    return [lightgcn(links, w['user_embeds'], items, n_layers) for items in (w['item_embeds'], *shown)]


def read_out(w, encoded):
    """O_u, O_i of [(users, items)]."""
    return [linear(w, f'{side}_readout', torch.cat(tables, 1))
            for side, tables in zip(('user', 'item'), zip(*encoded, strict=True), strict=True)]


@pytest.mark.parametrize('n_layers', [0, 1, 3])
@pytest.mark.parametrize('widths', [{'items': 2}, {'image': 3, 'text': 4, 'audio': 5}])
def test_slmrec_is_its_formula(rng, widths, n_layers):
    dataset = make_dataset(rng, widths)
    model = make_model('slmrec', dataset, f'--gnn_layer {n_layers} --reg 0.3 --ssl_reg 0.7 --temp 0.4')
    w = trainable(model)
    encoded = modal_lightgcn(w, links_of(dataset), projected(w, dataset).values(), n_layers)
    users, items = read_out(w, encoded)
    close(all_scores(model), scores_of((users, items)))
    reached, chain = encoded[0][1][POSITIVES], 0
    for number, (_, shown) in enumerate(encoded[1:]):
        reached = linear(w, f'chain.{number}', reached)
        known = shown[POSITIVES] @ w[f'known.{number}.weight'].T
        shift = torch.as_tensor(rng.normal(size=known.shape[1]))  # the paper's k has one, which no loss sees
        chain = chain + in_batch(reached, known + shift, 0.4)
    assert reached.shape[1] == 3  # half of d in the last step
    check_losses(model, w, {'main': in_batch(Plain.unit(users[USERS]), Plain.unit(items[POSITIVES]), 0.4),
                            'cl': 0.7 * chain, 'reg': 0.3 / 2 * all_squares(w)})


@pytest.mark.parametrize('task', ['fd', 'fm'])
def test_the_two_views_of_slmrec(rng, task):
    dataset = make_dataset(rng, WIDTHS)
    model = make_model('slmrec', dataset, f'--gnn_layer 2 --reg 0.3 --ssl_reg 0.7 --temp 0.4 --ssl_task {task} '
                                          '--embed_drop 0.4')
    w, links, draws = trainable(model), links_of(dataset), generator_like(model)
    shown = [w['item_embeds'], *projected(w, dataset).values()]

    def dropped_view():
        adj = loopless(links)
        nodes = torch.cat([w['user_embeds'].repeat(1, 3), torch.cat(shown, 1)])
        total = nodes
        for _ in range(2):
            kept = torch.cat([torch.rand(size, 18, generator=draws) for size in (N_USERS, N_ITEMS)]) >= 0.4
            nodes = adj @ nodes * kept / 0.6
            total = total + nodes
        users, items = (total / 3).split([N_USERS, N_ITEMS])
        return read_out(w, [*zip(users.split(6, 1), items.split(6, 1), strict=True)])

    def masked_view(masked):
        tables = [table * (number != masked) for number, table in enumerate(shown)]
        return read_out(w, [lightgcn(links, w['user_embeds'], table, 2) for table in tables])

    if task == 'fd':
        views = [dropped_view(), dropped_view()]
    else:
        views = [masked_view(masked) for masked in torch.randperm(3, generator=draws)[:2].tolist()]
    contrast = sum(in_batch(*(Plain.unit(view[side][nodes]) for view in views), 0.4)
                   for side, nodes in enumerate((USERS, POSITIVES)))
    users, items = read_out(w, [lightgcn(links, w['user_embeds'], table, 2) for table in shown])
    check_losses(model, w, {'main': in_batch(Plain.unit(users[USERS]), Plain.unit(items[POSITIVES]), 0.4),
                            'cl': 0.7 * contrast, 'reg': 0.3 / 2 * all_squares(w)})


@pytest.mark.parametrize('widths', [{'items': 2}, {'image': 3, 'text': 4, 'audio': 5}])
def test_mmgcl_is_its_formula(rng, widths):
    dataset = make_dataset(rng, widths)
    model = make_model('mmgcl', dataset, '--gnn_layer 3 --reg 0.3 --ssl_reg 0.7 --temp 0.4 --edge_drop 0.4')
    model.begin_epoch(None)
    w, links, draws = trainable(model), links_of(dataset), generator_like(model)
    shown = list(projected(w, dataset).values())
    users, items = read_out(w, modal_lightgcn(w, links, shown, 3))
    close(all_scores(model), scores_of((users, items)))

    some = links.clone()
    some[links > 0] = model.kept[0].double()
    masked = int(torch.randint(len(shown), (1,), generator=draws))
    spread = shown[masked].detach().square().mean().sqrt()
    hidden = [*shown]
    hidden[masked] = spread * torch.randn(N_ITEMS, 6, generator=draws).double()
    contrast = 0
    for encoded in (modal_lightgcn(w, some, shown, 3), modal_lightgcn(w, links, hidden, 3)):
        z_u, z_i = map(Plain.unit, read_out(w, encoded))
        z_u, z_p = z_u[USERS], z_i[POSITIVES]
        mixed = torch.cat([*(part[POSITIVES] for _, part in encoded[:-1]), encoded[-1][1][NEGATIVES]], 1)
        z_n = Plain.unit(linear(w, 'item_readout', mixed))
        for b in BATCH:
            own = (z_u[b] @ z_p[b] / 0.4).exp()
            others = sum((z_u[b] @ z_p[c] / 0.4).exp() for c in BATCH) + (z_u[b] @ z_n[b] / 0.4).exp()
            anchored = sum((z_u[c] @ z_p[b] / 0.4).exp() for c in BATCH)
            contrast = contrast - ((own / others).log() + (own / anchored).log()) / len(BATCH)
    check_losses(model, w, {**triple_losses(users @ items.T, (users, items), 0.3), 'cl': 0.7 * contrast})


def unit(row):
    return row / row.norm()


@pytest.mark.parametrize(('widths', 'rounds'), [({'items': 2}, 3), ({'image': 3, 'text': 4, 'audio': 5}, 3),
                                                (WIDTHS, 0)])
def test_grcn_is_its_formula(rng, widths, rounds):
    dataset = make_dataset(rng, widths)
    model = make_model('grcn', dataset, f'--gnn_layer 2 --reg 0.3 --routing {rounds}')
    w, links = trainable(model), links_of(dataset)
    near = {u: links[u].nonzero()[:, 0].tolist() for u in range(N_USERS)}
    near |= {N_USERS + i: links[:, i].nonzero()[:, 0].tolist() for i in range(N_ITEMS)}

    def attention(own, others):
        powers = [(own @ other).exp() for other in others]
        return [power / sum(powers) for power in powers]

    content, shares = [], []
    for name, table in projected(w, dataset).items():
        shown = [unit(torch.where(row > 0, row, 0.01 * row)) for row in table]
        wish = [unit(row) for row in w[f'tastes.{slot(name)}']]
        for _ in range(rounds):
            wish = [unit(row + sum(a * shown[i] for a, i in
                                   zip(attention(row, [shown[i] for i in near[u]]), near[u], strict=True)))
                    for u, row in enumerate(wish)]
        x = [*wish, *shown]
        edges, rows = {}, []
        for n, own in enumerate(x):
            sources = [k + N_USERS * (n < N_USERS) for k in near[n]]
            weights = attention(own, [x[k] for k in sources])
            edges |= {(n, k): weight for k, weight in zip(sources, weights, strict=True)}
            rows.append(own + sum(weight * x[k] for k, weight in zip(sources, weights, strict=True)))
        content.append(torch.stack(rows))
        shares.append(edges)
    trust = torch.cat([w['user_trust'], w['item_trust']])
    refined = {(n, k): max(trust[k, m] * edges[n, k] for m, edges in enumerate(shares)) for n, k in shares[0]}
    nodes = total = torch.stack([unit(row) for row in torch.cat([w['user_embeds'], w['item_embeds']])])
    for _ in range(2):
        nodes = torch.stack([sum((refined[n, k] * nodes[k] for m, k in refined if m == n), 0 * row)
                             for n, row in enumerate(nodes)])
        total = total + nodes
    users, items = torch.cat([total, *content], 1).split([N_USERS, N_ITEMS])
    close(all_scores(model), scores_of((users, items)))
    tastes = [w[f'tastes.{slot(name)}'] for name in widths]
    decayed = torch.cat([w['user_embeds'], *tastes, w['user_trust']], 1), torch.cat([w['item_embeds'],
                                                                                     w['item_trust']], 1)
    check_losses(model, w, triple_losses(users @ items.T, decayed, 0.3))


def test_the_edges_are_differentiated_as_they_are_summed(rng, generator):
    """Against torch's own derivatives of the same sums over edges written out, in float64."""
    targets, sources = links_of(make_dataset(rng)).nonzero().T
    edges = Edges(targets, sources, N_USERS, N_ITEMS)
    tables = [torch.randn(n, 3, dtype=torch.float64, generator=generator).requires_grad_() for n in (N_USERS, N_ITEMS)]
    scores = torch.rand(len(targets), dtype=torch.float64, generator=generator).requires_grad_()
    for function, inputs in ((edges.products, tables), (edges.sums, (scores, tables[1])), (edges.softmax, (scores,))):
        assert torch.autograd.gradcheck(function, tuple(inputs))


@pytest.mark.parametrize('n', [3, 8, None])
def test_clcrec_is_its_formula(rng, n):
    dataset = make_dataset(rng, WIDTHS)
    model = make_model('clcrec', dataset, '--reg 0.3 --ssl_reg 0.7 --temp 0.4' + (f' --cl_sample {n}' if n else ''))
    w, links, draws = trainable(model), links_of(dataset), generator_like(model)
    hidden = linear(w, 'encoder.0', torch.cat([*unit_features(dataset).values()], 1))
    encoded = linear(w, 'encoder.2', torch.where(hidden > 0, hidden, 0.01 * hidden))
    warm = links.sum(0).nonzero()[:, 0]
    expected = w['user_embeds'] @ torch.stack([w['item_embeds'][i] if i in warm else encoded[i]
                                               for i in range(N_ITEMS)]).T
    close(all_scores(model), expected)

    others = warm[torch.randperm(len(warm), generator=draws)[:n]] if n and n < len(warm) else warm
    shows = [torch.rand(len(items), generator=draws) < 0.5 for items in (POSITIVES, others)]
    known, strange = ([encoded[i] if shown else w['item_embeds'][i] for i, shown in zip(items, drawn, strict=True)]
                      for items, drawn in zip((POSITIVES, others), shows, strict=True))
    ui = re = decay = 0
    for b, (u, p) in enumerate(zip(USERS, POSITIVES, strict=True)):
        e_u, e_p = w['user_embeds'][u], w['item_embeds'][p]
        open_to_u = [k for k, item in enumerate(others) if not links[u, item]]
        own = (e_u @ known[b] / 0.4).exp()
        ui = ui - (own / (own + sum((e_u @ strange[k] / 0.4).exp() for k in open_to_u))).log() / len(USERS)
        own = (unit(e_p) @ unit(encoded[p]) / 0.4).exp()
        re = re - (own / (own + sum((unit(e_p) @ unit(encoded[others[k]]) / 0.4).exp() for k in open_to_u))).log() / 4
        decay = decay + ((e_u**2).sum() + (e_p**2).sum() + (encoded[p]**2).sum()) / 2 / len(USERS)
    check_losses(model, w, {'ui': ui, 're': 0.7 * re, 'reg': 0.3 * decay})


def test_the_pairs_of_clcrec_are_drawn_evenly(rng):
    """Half of the occurrences show the encoding, and all items with interactions are negatives alike."""
    model = make_model('clcrec', make_dataset(rng, WIDTHS), '--cl_sample 3')
    warm = model.warm.nonzero()[:, 0]
    counts, shown = torch.zeros(N_ITEMS), 0
    for _ in range(1000):
        others = model.drawn()
        assert len(others.unique()) == 3
        counts[others] += 1
        z = model.hybrid(others, torch.full((3, 6), 100.0))
        shown += (z > 50).all(1).sum().item()
    share = 3 / len(warm)
    assert not counts[~model.warm].any()
    assert (counts[warm] - 1000 * share).abs().max() < 5 * (1000 * share * (1 - share)) ** 0.5
    assert abs(shown - 1500) < 5 * (3000 / 4) ** 0.5


@pytest.mark.parametrize(('widths', 'n_layers'), [({'items': 2}, 2), ({'image': 3, 'text': 4, 'audio': 5}, 1)])
def test_mmgcn_is_its_formula(rng, widths, n_layers):
    dataset = make_dataset(rng, widths)
    model = make_model('mmgcn', dataset, f'--gnn_layer {n_layers} --reg 0.3')
    w, links = trainable(model), links_of(dataset)
    adj = (loopless(links) > 0).double()
    ids = torch.cat([w['user_embeds'], w['item_embeds']])

    def f(table):
        return torch.where(table > 0, table, 0.01 * table)

    total, tastes = 0, []
    for name, table in projected(w, dataset).items():
        tastes.append(w[f'tastes.{slot(name)}'])
        nodes = Plain.unit(torch.cat([tastes[-1], table]))
        for number in range(n_layers):
            layer = f'networks.{slot(name)}.{number}'
            near = torch.stack([sum((other for other, link in zip(nodes, row, strict=True) if link), 0 * nodes[0])
                                / row.sum().clamp(min=1) for row in adj])
            joined = torch.cat([f(near @ w[f'{layer}.gather.weight'].T), f(linear(w, f'{layer}.keep', nodes)) + ids], 1)
            nodes = f(linear(w, f'{layer}.join', joined))
        total = total + nodes / len(widths)
    users, items = total.split([N_USERS, N_ITEMS])
    close(all_scores(model), scores_of((users, items)))
    decayed = torch.cat([users, w['user_embeds'], *tastes], 1), torch.cat([items, w['item_embeds']], 1)
    check_losses(model, w, triple_losses(users @ items.T, decayed, 0.3))
