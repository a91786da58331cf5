"""Trained guidance against the same with every matrix made, in float64; in training, sampling and whole epochs."""
import pytest
import torch
from conftest import random_matrix

from DataHandler import UserRows
from Utils.Diffusion import Denoiser, GaussianDiffusion
from Utils.FastSampling import make_sampler
from Utils.Guidance import Guidance, ToldItems, degree_scale, profiles, told_of
from Utils.Layers import random_bits

N_USERS, N_ITEMS, D = 9, 14, 4


def normal(generator, *shape):
    return torch.randn(shape, dtype=torch.float64, generator=generator)


@pytest.fixture
def rows(rng):
    """All of a matrix in which a user has no item."""
    return UserRows(random_matrix(rng, N_USERS, N_ITEMS)).batch(torch.arange(N_USERS))


def guided_denoiser(generator, fused, norm=False):
    denoiser = Denoiser(N_ITEMS, (6,), 3, norm, generator)
    denoiser.guidance = Guidance(D, 5, 6, fused, generator)
    for parameter in denoiser.parameters():  # those that begin at zero, too
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    return denoiser.double()


def plain_profiles(dense, features):
    return torch.stack([sum((features[i] for i in row.nonzero()[:, 0]), torch.zeros(D, dtype=torch.float64))
                        / max(1, int(row.sum())) for row in dense])


def plain(denoiser, x, timesteps, dense, features, items):
    """The guided row as a row (B, I) that is added to x, or what profiles make of the first layer."""
    guidance = denoiser.guidance
    users = guidance.users(plain_profiles(dense, features))
    scale = (1 + dense.sum(1, keepdim=True)) ** -0.5
    if not guidance.fused:
        return denoiser.last(denoiser.inner(x @ denoiser.first_items + users, timesteps))
    nodes = guidance.items(items.guide)
    row = guidance.user_convolution(scale * (users + x @ nodes)) @ guidance.item_convolution(items.scale * nodes).T
    return denoiser.last(denoiser.inner((x + row) @ denoiser.first_items, timesteps))


@pytest.fixture
def told(rows, generator):
    features = normal(generator, N_ITEMS, D)
    items = ToldItems(normal(generator, N_ITEMS, D), degree_scale(torch.arange(N_ITEMS).double()))
    return features, items


@pytest.mark.parametrize('fused', [True, False])
@pytest.mark.parametrize('norm', [True, False])
def test_denoiser(rows, generator, told, fused, norm):
    """With dropout and without; what is dropped out is hidden from the profile and the fusion as well."""
    features, items = told
    denoiser, x, timesteps = guided_denoiser(generator, fused), normal(generator, N_USERS, N_ITEMS), torch.arange(9) % 5
    dense, kept = rows.dense(torch.float64), random_bits((N_USERS, N_ITEMS), generator)
    torch.testing.assert_close(denoiser(x, timesteps, None, told_of(rows, features), items),
                               plain(denoiser, x, timesteps, dense, features, items))
    profile = plain_profiles(dense * kept, features)
    torch.testing.assert_close(profiles(rows, features, kept), profile)
    ours = denoiser(x, timesteps, kept, told_of(rows, features, kept), items)
    guidance, hidden = denoiser.guidance, x * kept * 2
    added = guidance.users(profile)
    if fused:
        nodes, scale = guidance.items(items.guide), (1 + dense.sum(1, keepdim=True)) ** -0.5
        added = guidance.user_convolution(scale * (added + hidden @ nodes)) @ guidance.item_convolution(
            items.scale * nodes).T @ denoiser.first_items
    torch.testing.assert_close(ours, denoiser.last(denoiser.inner(hidden @ denoiser.first_items + added, timesteps)))


@pytest.mark.parametrize('fused', [True, False])
@pytest.mark.parametrize('settings', [{}, {'sampling_steps': 2}, {'sampling_noise': True}, {'norm': True}])
def test_sampling(rows, generator, told, fused, settings):
    features, items = told
    denoiser, diffusion = guided_denoiser(generator, fused, settings.get('norm', False)), GaussianDiffusion(
        4, 0.5, 0.1, 0.5)
    settings = {name: value for name, value in settings.items() if name != 'norm'}
    dense = rows.dense(torch.float64)
    with torch.no_grad():
        expected = diffusion.sample(
            lambda x, t: plain(denoiser, torch.nn.functional.normalize(x) if denoiser.norm else x, t, dense, features,
                               items), dense, **settings, generator=torch.Generator().manual_seed(3))
        ours = make_sampler(diffusion, denoiser, **settings, generator=torch.Generator().manual_seed(3),
                            told_items=items)(rows, told_of(rows, features))
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize('fused', [True, False])
def test_it_begins_as_none_and_is_trained(rows, generator, told, fused):
    features, items = told
    denoiser = Denoiser(N_ITEMS, (6,), 3, False, generator).double()
    x, timesteps = normal(generator, N_USERS, N_ITEMS), torch.arange(9) % 5
    alone = denoiser(x, timesteps)
    denoiser.guidance = Guidance(D, 5, 6, fused, generator).double()
    optimiser = torch.optim.Adam(denoiser.parameters(), 0.01)
    before = {name: parameter.detach().clone() for name, parameter in denoiser.guidance.named_parameters()}
    for number in range(3):
        out = denoiser(x, timesteps, None, told_of(rows, features), items)
        if number == 0:
            torch.testing.assert_close(out, alone)
        optimiser.zero_grad()
        out.square().sum().backward()
        optimiser.step()
    assert all(not torch.equal(parameter, before[name]) for name, parameter in denoiser.guidance.named_parameters())
