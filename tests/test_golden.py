"""Every golden case: what the released program computes, against ours (tests/golden/README.md)."""
import json
import os
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from Benchmark.Plain import modal_bpr_loss
from DataHandler import Dataset, UserRows
from Model import MDMNS, slot
from Params import parse
from Utils.Diffusion import Denoiser, GaussianDiffusion, denoising_losses, fuse
from Utils.FastSampling import make_sampler
from Utils.Graph import normalised_graph
from Utils.Layers import Linear
from Utils.Metrics import NAMES, DotScores, evaluate, rank_items
from Utils.Utils import FUSED, cross_modal_loss, multi_level_loss, noise_levels

FOLDER = Path(os.environ.get('GOLDEN_DIR', Path(__file__).parent / 'golden'))
CASES = sorted(FOLDER.glob('*.npz'))


class Case:
    """One file: settings, and nested access to its arrays as tensors."""

    def __init__(self, path):
        with np.load(path, allow_pickle=False) as file:
            self.kind = str(file['kind'])
            self.params = json.loads(str(file['params']))
            self.arrays = {name: torch.as_tensor(file[name]) for name in file.files if '/' in name}

    def __getitem__(self, name):
        return self.arrays[name]

    def below(self, prefix):
        return {name[len(prefix):]: array for name, array in self.arrays.items() if name.startswith(prefix)}

    def outputs(self, prefix='in/', grad=False):
        """name -> (users, items) of every output in the case, in the order of its modalities where that is stated."""
        names = [name.split('/')[1] for name in self.arrays if name.startswith(prefix) and name.endswith('/user')]
        names.sort(key=(FUSED, *self.params.get('modalities', names)).index)
        return {name: tuple(self[f'{prefix}{name}/{side}'].clone().requires_grad_(grad) for side in ('user', 'item'))
                for name in names}


def close(got, expected, tolerance=1e-5):
    """Relative to the largest value of the expected array."""
    got, expected = torch.as_tensor(got).detach().double(), torch.as_tensor(expected).double()
    assert got.shape == expected.shape
    error = (got - expected).abs().max() / expected.abs().max().clamp(min=1e-30)
    assert error < tolerance, f'relative error {float(error):.2e}'


def check_output_grads(case, outputs):
    expected = case.below('out/grad/')
    for name, pair in outputs.items():
        for side, table in zip(('user', 'item'), pair, strict=True):
            if f'{name}/{side}' in expected:
                close(table.grad, expected[f'{name}/{side}'])
            else:
                assert table.grad is None or not table.grad.any()


def row_batch(dense):
    assert torch.equal(dense, (dense != 0).to(dense.dtype))
    return UserRows(sp.csr_matrix(dense.numpy())).batch(torch.arange(len(dense)))


def edges(dense):
    return dense.nonzero().T


def modal_graphs(case):
    """The graphs of each user's top items. Drawn at random, a case's top may name an item twice: one edge then."""
    shape = case['in/train'].shape
    return {name: normalised_graph(*edges(torch.zeros(shape).scatter_(1, top, 1)), tuple(shape))
            for name, top in case.below('in/top/').items()}


def denoiser_of(case, n_items):
    params = case.params
    model = Denoiser(n_items, params['dims'], params['d_emb_size'], params['norm'], torch.Generator())
    weights = case.below('in/w/')
    first = weights['in_layers.0.weight']
    inner = [name for name in weights if name.split('.')[0] in ('in_layers', 'out_layers')]
    layers = [name[:-len('.weight')] for name in inner if name.endswith('.weight')][1:]
    state = {'time.weight': weights['emb_layer.weight'], 'time.bias': weights['emb_layer.bias'],
             'first_items': first[:, :n_items].T, 'first_time.weight': first[:, n_items:],
             'first_time.bias': weights['in_layers.0.bias']}
    for number, layer in enumerate(layers):
        ours = 'last' if number == len(layers) - 1 else f'hidden.{number}'
        for part in ('weight', 'bias'):
            state[f'{ours}.{part}'] = weights[f'{layer}.{part}']
    model.load_state_dict(state)
    return model, layers


def diffusion_of(case):
    return GaussianDiffusion(*(case.params[name] for name in ('steps', 'noise_scale', 'noise_min', 'noise_max')))


def layer_of(weights, name):
    layer = Linear(*weights[f'{name}.weight'].shape[::-1], torch.Generator())
    layer.load_state_dict({part: weights[f'{name}.{part}'] for part in ('weight', 'bias')})
    return layer.requires_grad_(False)


def fusion_of(weights):
    return {'users': weights['user_embedding.weight'], 'items': layer_of(weights, 'feature_transform'),
            'convolution': layer_of(weights, 'gcn_layer.linear')}


def recommender_of(case):
    params, weights = case.params, case.below('in/w/')
    train = sp.csr_matrix(case['in/train'].numpy())
    features = {name: case[f'in/feat/{name}'].numpy() for name in params['modalities']}
    settings = SimpleNamespace(**vars(parse(['--dims', '4', '--d_emb_size', '4', '--steps', '2'])) | {
        name: params[name] for name in ('latdim', 'gnn_layer', 'trans', 'ris_lambda', 'ris_adj_lambda')})
    model = MDMNS(Dataset('golden', train, train, train, features), settings, torch.Generator())
    parameters = {'uEmbeds': model.user_embeds, 'iEmbeds': model.item_embeds, 'modal_weight': model.modal_weight}
    for name in model.modalities:
        for part, parameter in model.projections[slot(name)].named_parameters():
            theirs = f'{name}_trans.{part}' if f'{name}_trans.{part}' in weights else f'{name}_trans'
            parameters[theirs] = parameter
    assert parameters.keys() == weights.keys()
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])
    model.modal_adj = modal_graphs(case)
    return model, parameters


def check_schedule(case):
    diffusion = diffusion_of(case)
    for name, expected in case.below('out/').items():
        close(getattr(diffusion, name), expected, 1e-10)


def check_denoiser(case):
    diffusion, (model, _) = diffusion_of(case), denoiser_of(case, case.params['n_items'])
    x_t = diffusion.noised(case['in/x'], case['in/t'], case['in/noise'])
    close(x_t, case['out/x_t'])
    close(model(x_t, case['in/t']), case['out/y'])


def check_p_sample(case):
    model, _ = denoiser_of(case, case.params['n_items'])
    diffusion, steps = diffusion_of(case), case.params['sampling_steps']
    with torch.no_grad():
        plain = diffusion.sample(model, case['in/x'], steps)
        fast = make_sampler(diffusion, model, steps)(row_batch(case['in/x']))
    for sample in (plain, fast):
        close(sample, case['out/x0'])
        assert torch.equal(sample.topk(case.params['rebuild_k']).indices, case['out/top'])


def check_guidance(case):
    close(fuse(case['in/x_t'], case['in/guide'], fusion_of(case.below('in/w/'))), case['out/fused'], 1e-4)


def check_denoise_loss(case):
    model, layers = denoiser_of(case, case['in/x'].shape[1])
    fusion = fusion_of(case.below('in/fuse/')) | {
        'guess': layer_of({f'guess.{part}': array for part, array in case.below('in/head/').items()}, 'guess')}
    error, alignment = denoising_losses(
        diffusion_of(case), model, row_batch(case['in/x']), case['in/t'], case['in/noise'], case['in/feats'],
        case['in/item_embeds'], case['in/guide'], fusion)
    close(error, case['out/diff_loss'], 1e-4)
    close(alignment, case['out/gc_loss'], 1e-4)
    loss = error.mean() + case.params['e_loss'] * alignment.mean()
    close(loss, case['out/loss'], 1e-4)
    loss.backward()
    grads = {name: parameter.grad for name, parameter in model.named_parameters()}
    ours = {'emb_layer.weight': grads['time.weight'], 'emb_layer.bias': grads['time.bias'],
            'in_layers.0.weight': torch.cat([grads['first_items'].T, grads['first_time.weight']], 1),
            'in_layers.0.bias': grads['first_time.bias'], f'{layers[-1]}.weight': grads['last.weight'],
            f'{layers[-1]}.bias': grads['last.bias']}
    for number, layer in enumerate(layers[:-1]):
        ours |= {f'{layer}.{part}': grads[f'hidden.{number}.{part}'] for part in ('weight', 'bias')}
    expected = case.below('out/grad/')
    assert ours.keys() == expected.keys()
    for name, grad in expected.items():
        close(ours[name], grad, 1e-4)


def check_adjacency(case):
    train = case['in/train']
    close(normalised_graph(*edges(train), tuple(train.shape)).whole().to_dense(), case['out/adj'])
    for name, graph in modal_graphs(case).items():
        close(graph.whole().to_dense(), case[f'out/modal_adj/{name}'])


def check_recommender(case):
    model, parameters = recommender_of(case)
    total = 0
    for name, pair in model.outputs(model.project()).items():
        for side, table in zip(('user', 'item'), pair, strict=True):
            close(table, case[f'out/{name}/{side}'])
            total = total + (case[f'in/coef/{name}/{side}'] * table).sum()
    total.backward()
    for name, parameter in parameters.items():
        close(parameter.grad, case[f'out/grad/{name}'])


def check_contrast_views(case):
    model, _ = recommender_of(case)
    for name, pair in model.contrast_views(model.project()).items():
        for side, table in zip(('user', 'item'), pair, strict=True):
            close(table, case[f'out/{name}/{side}'])


def check_bpr(case):
    outputs = case.outputs(grad=True)
    loss = modal_bpr_loss(outputs, case['in/users'], case['in/pos'], case['in/neg'], case.params['batch'])
    close(loss, case['out/loss'])
    loss.backward()
    check_output_grads(case, outputs)


def check_cross_modal(case):
    views = case.outputs(grad=True)
    loss = case.params['ssl_reg'] * cross_modal_loss(views, case['in/users'], case['in/pos'], case.params['temp'])
    close(loss, case['out/loss'])
    loss.backward()
    check_output_grads(case, views)


def check_multi_level(case):
    params, outputs = case.params, case.outputs(grad=True)
    assert noise_levels(params['steps']) == tuple(params['levels'])
    loss = params['ssl_reg'] * multi_level_loss(outputs, params['levels'], params['temp'],
                                                lambda name, level: case[f'in/noise/{name}'][level])
    close(loss, case['out/loss'])
    loss.backward()
    check_output_grads(case, outputs)


def check_evaluate(case):
    train, test = (UserRows(sp.csr_matrix(case[f'in/{split}'].numpy())) for split in ('train', 'test'))
    score, users, topk = DotScores(case.outputs()), case['out/users'], case.params['topk']
    assert torch.equal(rank_items(score(users), train.batch(users).positions, topk), case['out/top'])
    for chunk in (3, 256):
        result = evaluate(score, train, {'test': test}, topk, chunk)['test']
        assert np.array_equal(result.users, users)
        for name in NAMES:
            close(result.means()[name], case[f'out/{name}'], 1e-6)


CHECKS = {name[len('check_'):]: check for name, check in list(globals().items())
          if name.startswith('check_') and name != 'check_output_grads'}


@pytest.mark.parametrize('path', CASES, ids=lambda path: path.stem)
def test_case(path):
    case = Case(path)
    CHECKS[case.kind](case)


def test_every_kind_has_cases():
    assert CASES, f'no golden cases in {FOLDER}'
    if 'GOLDEN_DIR' not in os.environ:
        assert Counter(Case(path).kind for path in CASES).keys() == CHECKS.keys()
