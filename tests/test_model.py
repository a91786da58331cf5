"""The graph network against a dense float64 twin, and what the model does around it."""
import pytest
import torch
from conftest import planted, random_matrix

from Benchmark import Plain
from DataHandler import Dataset, NegativeSampler
from Model import MDMNS, slot
from Params import parse
from Utils.Diffusion import draw_fusion
from Utils.Errors import InputError
from Utils.Graph import normalised_graph
from Utils.Layers import random_bits
from Utils.Utils import cross_modal_loss, multi_level_loss

SMALL = '--latdim 6 --dims 10 --guide_fused_hidden_dim 5 --batch 16'


def make_dataset(rng, widths, n_users=13, n_items=11):
    train = random_matrix(rng, n_users, n_items)
    features = {name: rng.normal(size=(n_items, width)).astype('float32') for name, width in widths.items()}
    return Dataset('random', train, train, train, features)


def make_model(dataset, flags='', seed=1):
    return MDMNS(dataset, parse(f'{SMALL} {flags}'.split()), torch.Generator().manual_seed(seed))


def dense_of(matrix):
    return torch.as_tensor(matrix.toarray(), dtype=torch.float64)


def project(model, name, features, trans):
    weights = {key: value.detach().double() for key, value in model.projections[slot(name)].named_parameters()}
    if trans == 1 or (trans == 2 and name == 'text'):
        return features @ weights['weight'].T + weights['bias']
    product = features @ weights['weight']
    return torch.where(product > 0, product, 0.2 * product)


@pytest.mark.parametrize('widths', [{'audio': 1}, {'image': 5, 'text': 7},
                                    {'image': 3, 'text': 4, 'audio': 5, 'sketch': 2}])
@pytest.mark.parametrize(('trans', 'layers'), [(0, 0), (1, 1), (2, 3)])
def test_outputs_and_views(rng, widths, trans, layers):
    dataset = make_dataset(rng, widths)
    model = make_model(dataset, f'--trans {trans} --gnn_layer {layers} --ris_lambda 0.3 --ris_adj_lambda 0.7')
    modal = {}
    for name in widths:
        links = random_matrix(rng, 13, 11)
        modal[name] = Plain.adjacency(dense_of(links))
        model.modal_adj[name] = normalised_graph(*torch.as_tensor(dense_of(links)).nonzero().T, links.shape)
    with torch.no_grad():
        model.modal_weight.copy_(torch.arange(len(widths)) * 0.5)
        ours, our_views = model.outputs(model.project()), model.contrast_views(model.project())
    projected = {name: project(model, name, torch.as_tensor(table).double(), trans)
                 for name, table in dataset.features.items()}
    outputs, views = Plain.recommender(
        Plain.adjacency(dense_of(dataset.train)), modal, model.user_embeds.detach().double(),
        model.item_embeds.detach().double(), projected, model.modal_weight.detach().double(), layers, 0.3, 0.7)
    assert set(ours) == {'fused', *widths}
    for name, expected in outputs.items():
        torch.testing.assert_close(torch.cat(ours[name]).double(), expected, rtol=1e-4, atol=1e-5)
    for name, expected in views.items():
        torch.testing.assert_close(torch.cat(tuple(our_views[name])).double(), expected, rtol=1e-4, atol=1e-5)
    model.rebuild_graphs()
    users = torch.tensor([4, 0, 4])
    with torch.no_grad():
        expected = sum(u[users] @ i.T for u, i in model.outputs(model.project()).values())
    torch.testing.assert_close(model.scores()(users), expected)


def test_guides(rng):
    model = make_model(make_dataset(rng, {'image': 2, 'text': 3, 'audio': 4}))
    projected = {name: table.detach() for name, table in model.project().items()}
    torch.testing.assert_close(model.guides(projected)['text'], (projected['image'] + projected['audio']) / 2)
    alone = {'image': projected['image']}
    assert torch.equal(model.guides(alone)['image'], projected['image'])


def test_rebuilt_graphs_are_the_top_items_of_the_sample(rng):
    model = make_model(make_dataset(rng, {'image': 4, 'text': 2}), '--rebuild_k 3 --keepRate 1')
    model.rebuild_graphs()
    x_0 = model.rows.batch(torch.arange(13)).dense()
    for name in model.modalities:
        with torch.no_grad():
            top = model.diffusion.sample(model.denoisers[slot(name)], x_0).topk(3).indices
        links = torch.zeros(13, 11, dtype=torch.float64).scatter_(1, top, 1)
        torch.testing.assert_close(model.modal_adj[name].whole().to_dense().double(), Plain.adjacency(links))


def step(model, dataset):
    sampler = NegativeSampler(model.rows)
    return model.losses(sampler.users[:16], sampler.positives[:16], sampler.sample(model.generator)[:16])


@pytest.mark.parametrize('flags', ['--cl_method 0', '--cl_method 1', '--cl_method 1 --noise_levels 0 3',
                                   '--cl_method 1 --cl_sample 5 --nce_chunk 4', '--precision bf16',
                                   '--guidance none', '--norm --sampling_noise --sampling_steps 2', '--trans 2'])
@pytest.mark.parametrize('widths', [{'text': 3}, {'image': 5, 'text': 3}])
def test_an_epoch_trains_everything(rng, flags, widths):
    dataset = make_dataset(rng, widths)
    model = make_model(dataset, flags)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    figures = model.begin_epoch()
    assert set(figures) == {f'diffusion_{name}' for name in widths}
    trained = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert trained == {name for name in before if name.startswith('denoisers.')}
    terms = step(model, dataset)
    assert set(terms) == {'bpr', 'reg', 'cl'}
    sum(terms.values()).backward()
    grads = {id(parameter) for parameter in model.loop_parameters() if parameter.grad is not None}
    wanted = {id(parameter) for parameter in model.loop_parameters()}
    if '--cl_method 1' not in flags:
        wanted.remove(id(model.modal_weight))  # it acts on the fused output alone, which then trains nothing
    assert grads == wanted


def test_every_user_meets_the_denoisers_once(rng, monkeypatch):
    model = make_model(make_dataset(rng, {'image': 5}), '--batch 4')
    seen = []
    batch = model.rows.batch
    monkeypatch.setattr(model.rows, 'batch', lambda users: seen.extend(users.tolist()) or batch(users))
    model.train_denoisers()
    assert sorted(seen) == list(range(13))


def test_only_the_chosen_contrast_is_computed(rng, monkeypatch):
    dataset = make_dataset(rng, {'image': 5, 'text': 3})
    for method, other in ((0, 'multi_level_loss'), (1, 'cross_modal_loss')):
        model = make_model(dataset, f'--cl_method {method}')
        model.begin_epoch()
        with monkeypatch.context() as patch:
            patch.setattr(f'Model.{other}', lambda *_: pytest.fail('computed for nothing'))
            step(model, dataset)


def test_seed_decides_everything(rng):
    dataset = make_dataset(rng, {'image': 5, 'text': 3})

    def train(seed):
        model = make_model(dataset, '--cl_method 1', seed)
        figures = model.begin_epoch()
        return [*figures.values(), *(float(term.detach()) for term in step(model, dataset).values())]

    assert train(5) == train(5)
    assert train(5) != train(6)


def test_without_features_it_says_so(rng):
    with pytest.raises(InputError, match='at least one modality'):
        make_model(make_dataset(rng, {}))


def test_a_modality_may_bear_any_name(rng):
    _, features = planted(rng, widths=(('items', 3), ('type', 2)))
    model = make_model(make_dataset(rng, {name: table.shape[1] for name, table in features.items()}))
    assert set(model.begin_epoch()) == {'diffusion_items', 'diffusion_type'}


def test_a_modality_called_fused_is_told(rng):
    with pytest.raises(InputError, match='cannot be called fused'):
        make_model(make_dataset(rng, {'fused': 3, 'image': 2}))


@pytest.mark.parametrize('guidance', ['released', 'none'])
def test_denoiser_training_step_by_step(rng, guidance):
    """One pass over the rows in two batches, against the plain losses, autograd and Adam with the same draws."""
    dataset = make_dataset(rng, {'image': 5, 'text': 3})
    flags = f'--batch 8 --steps 4 --e_loss 2000 --guidance {guidance}'  # so that the alignment shows in the sum
    model, twin = make_model(dataset, flags), make_model(dataset, flags)
    figures = model.train_denoisers()

    generator, settings = twin.generator, twin.settings
    features = {name: table.detach() for name, table in twin.project().items()}
    optimisers = {name: torch.optim.Adam(twin.denoisers[slot(name)].parameters(), settings.lr) for name in features}
    totals = dict.fromkeys(features, 0)
    for users in torch.randperm(13, generator=generator).split(8):
        x_0 = torch.as_tensor(dataset.train.toarray()[users])
        for name, other in (('image', 'text'), ('text', 'image')):
            timesteps = torch.randint(4, (len(users),), generator=generator)
            noise = torch.randn(x_0.shape, generator=generator)
            kept = random_bits(x_0.shape, generator)
            x_t = twin.diffusion.noised(x_0, timesteps, noise)
            error = 0
            if guidance == 'released':
                weights = draw_fusion(len(users), 6, 5, generator)
                items, convolution, guess = ((weights[part].weight, weights[part].bias)
                                             for part in ('items', 'convolution', 'guess'))
                x_t = Plain.fused(x_t, features[other], weights['users'], items, convolution)
                error = (x_0 - torch.nn.functional.linear(features[other], *guess).T).square().mean(1)
            predicted = Plain.denoiser(dict(twin.denoisers[slot(name)].named_parameters()), x_t, timesteps,
                                       dropout_mask=kept / 0.5)
            error = (error + (x_0 - predicted).square().mean(1)) * twin.diffusion.loss_weight[timesteps].float()
            alignment = (predicted @ features[name] - x_0 @ twin.item_embeds.detach()).square().mean(1)
            loss = error.mean() + 2000 * alignment.mean()
            optimisers[name].zero_grad()
            loss.backward()
            optimisers[name].step()
            totals[name] += float(loss.detach()) / 2
    for name in features:
        assert float(figures[f'diffusion_{name}']) == pytest.approx(totals[name], rel=1e-3)
        for ours, plain in zip(model.denoisers[slot(name)].parameters(), twin.denoisers[slot(name)].parameters(),
                               strict=True):
            # Adam's first steps have the size lr whatever the gradient's, so a tiny gradient's rounding shows in full
            assert ((ours - plain).abs() > 1e-4).double().mean() < 0.02


def test_every_timestep_is_drawn(rng, monkeypatch):
    model = make_model(make_dataset(rng, {'image': 5}, n_users=200), '--steps 4 --batch 50')
    seen = []
    noised = model.diffusion.noised_rows_
    monkeypatch.setattr(model.diffusion, 'noised_rows_', lambda rows, t, x_t: seen.append(t) or noised(rows, t, x_t))
    model.train_denoisers()
    assert set(torch.cat(seen).tolist()) == {0, 1, 2, 3}


def test_keep_rate_thins_the_rebuilt_graphs(rng):
    model = make_model(make_dataset(rng, {'image': 5}, n_users=300), '--keepRate 0.3')
    model.rebuild_graphs()
    entries = len(model.modal_adj['image'].to_users.matrix.values)
    assert 0.2 * 300 < entries < 0.4 * 300


@pytest.mark.parametrize('method', [0, 1])
def test_terms_of_the_loss(rng, method):
    """Each term is its function with its weight, and the contrast trains the projections too."""
    dataset = make_dataset(rng, {'image': 5, 'text': 3})
    model = make_model(dataset, f'--cl_method {method} --reg 0.3 --ssl_reg 0.2 --noise_levels 0 0')
    model.begin_epoch()
    sampler = NegativeSampler(model.rows)
    triple = sampler.users[:9], sampler.positives[:9], sampler.sample(model.generator)[:9]
    terms = model.losses(*triple)
    outputs, views = model.outputs(model.project()), model.contrast_views(model.project())
    contrast = (multi_level_loss(outputs, (0, 0), 0.5, None) if method else cross_modal_loss(views, *triple[:2], 0.5))
    torch.testing.assert_close(terms['cl'], 0.2 * contrast)
    torch.testing.assert_close(terms['reg'], 0.3 * ((model.user_embeds**2).sum() + (model.item_embeds**2).sum()))
    torch.testing.assert_close(terms['bpr'], Plain.modal_bpr_loss(outputs, *triple, 16))
    grads = torch.autograd.grad(terms['cl'], [projection.weight for projection in model.projections.values()])
    assert all(grad.abs().sum() > 0 for grad in grads)
    sum(model.losses(*triple).values()).backward()
