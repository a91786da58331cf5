"""The denoisers, the diffusion and the guidance against plain twins in float64."""
import pytest
import torch
from conftest import random_matrix

from Benchmark import Plain
from DataHandler import UserRows
from Utils.Diffusion import Denoiser, GaussianDiffusion, denoising_losses, draw_fusion, fuse
from Utils.FastSampling import make_sampler
from Utils.Layers import random_bits
from Utils.Utils import guess_error, reconstruction_errors

SCHEDULE = (0.1, 1e-4, 0.02)


@pytest.fixture
def rows(rng):
    return UserRows(random_matrix(rng, 9, 14)).batch(torch.arange(9))


def normal(generator, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def make_denoiser(n_items, dims, generator, norm=False, size=7):
    return Denoiser(n_items, dims, size, norm, generator).double()


@pytest.mark.parametrize('steps', [1, 2, 5, 33])
def test_schedule(steps):
    diffusion = GaussianDiffusion(steps, 0.5, 1e-3, 0.05)
    betas, abar = Plain.schedule(steps, 0.5, 1e-3, 0.05)
    torch.testing.assert_close(diffusion.betas, torch.tensor(betas, dtype=torch.float64))
    torch.testing.assert_close(diffusion.alphas_cumprod, torch.tensor(abar, dtype=torch.float64))
    snr = [a / (1 - a) for a in abar]
    for t in range(1, steps):
        assert diffusion.loss_weight[t] == pytest.approx(snr[t - 1] - snr[t])
        assert diffusion.posterior_mean_coef1[t] == pytest.approx(betas[t] * abar[t - 1] ** 0.5 / (1 - abar[t]))
        assert diffusion.posterior_mean_coef2[t] == pytest.approx(
            (1 - abar[t - 1]) * (1 - betas[t]) ** 0.5 / (1 - abar[t]))
    assert diffusion.loss_weight[0] == 1
    assert diffusion.posterior_mean_coef1[0] == pytest.approx(1)
    assert diffusion.posterior_mean_coef2[0] == 0


def test_noised_rows(rows, generator):
    diffusion = GaussianDiffusion(6, *SCHEDULE)
    timesteps, noise = torch.arange(9) % 6, normal(generator, 9, 14)
    torch.testing.assert_close(diffusion.noised_rows(rows, timesteps, noise),
                               diffusion.noised(rows.dense(torch.float64), timesteps, noise))


@pytest.mark.parametrize('norm', [False, True])
@pytest.mark.parametrize('dims', [(6,), (7, 5), (8, 3, 6)])
def test_denoiser(generator, dims, norm):
    model = make_denoiser(14, dims, generator, norm)
    x, timesteps = normal(generator, 9, 14), torch.arange(9) % 5
    torch.testing.assert_close(model(x, timesteps), Plain.denoiser(model.state_dict(), x, timesteps, norm))


def test_denoiser_dropout(generator):
    model = make_denoiser(14, (6,), generator, norm=True)
    x, timesteps, kept = normal(generator, 9, 14), torch.arange(9) % 5, random_bits((9, 14), generator)
    plain = Denoiser.forward(model, x, timesteps)
    model.norm = False
    dropped = model(Plain.unit(x) * kept / 0.5, timesteps)
    model.norm = True
    torch.testing.assert_close(model(x, timesteps, kept), dropped)
    assert not torch.allclose(plain, dropped)


@pytest.mark.parametrize('shape', [(1000, 97), (3,), (1, 1)])
def test_random_bits(generator, shape):
    bits = random_bits(shape, generator)
    assert bits.shape == shape
    assert bits.dtype == torch.bool
    if bits.numel() > 10000:
        assert abs(bits.double().mean() - 0.5) < 0.01
        assert abs((bits[:, 1:] == bits[:, :-1]).double().mean() - 0.5) < 0.01
        assert len({tuple(row.tolist()) for row in bits}) == len(bits)


@pytest.mark.parametrize('shift', [0, -3])
def test_fusion(generator, rows, shift):
    """With `shift`, row sums fall below zero and are clamped."""
    weights = draw_fusion(9, 4, 5, generator)
    weights = {'users': weights['users'].double()} | {name: weights[name].double() for name in ('items', 'convolution')}
    x_t, guide = rows.dense(torch.float64) + 0.1 * normal(generator, 9, 14), normal(generator, 14, 4)
    x_t[2] += shift
    expected = Plain.fused(x_t, guide, weights['users'], (weights['items'].weight, weights['items'].bias),
                           (weights['convolution'].weight, weights['convolution'].bias))
    torch.testing.assert_close(fuse(x_t, guide, weights), expected)


def test_reconstruction_errors(rows, generator):
    features, item_embeds, predicted = (normal(generator, n, d) for n, d in ((14, 4), (14, 4), (9, 14)))
    weights = normal(generator, 2, 9)
    x_0 = rows.dense(torch.float64)
    results = []
    for fast in (False, True):
        leaf = predicted.clone().requires_grad_()
        f = leaf * 1  # not a leaf: what the fast form overwrites belongs to nobody else
        if fast:
            error, alignment = reconstruction_errors(f, rows, features, item_embeds)
        else:
            error, alignment = (x_0 - f).square().mean(1), (f @ features - x_0 @ item_embeds).square().mean(1)
        grad, = torch.autograd.grad((weights[0] * error + weights[1] * alignment).sum(), leaf)
        results.append((error, alignment, grad))
    for plain, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain)


def test_guess_error(rows, generator):
    guide, weight, bias = normal(generator, 14, 4), normal(generator, 9, 4), normal(generator, 9)
    guess = (guide @ weight.T + bias).T
    torch.testing.assert_close(guess_error(rows, guide, weight, bias),
                               (rows.dense(torch.float64) - guess).square().mean(1))


@pytest.mark.parametrize('guided', [False, True])
def test_denoising_losses(rows, generator, guided):
    diffusion, model = GaussianDiffusion(5, *SCHEDULE), make_denoiser(14, (6,), generator)
    timesteps, noise = torch.arange(9) % 5, normal(generator, 9, 14)
    features, item_embeds, guide = (normal(generator, 14, 4) for _ in range(3))
    fusion = draw_fusion(9, 4, 5, generator)
    fusion = {name: part.double() for name, part in fusion.items()}
    kept = random_bits((9, 14), generator)
    error, alignment = denoising_losses(diffusion, model, rows, timesteps, noise, features, item_embeds,
                                        guide if guided else None, fusion if guided else None, kept)
    x_0 = rows.dense(torch.float64)
    x_t = diffusion.noised(x_0, timesteps, noise)
    predicted = model(fuse(x_t, guide, fusion) if guided else x_t, timesteps, kept)
    plain = (x_0 - predicted).square().mean(1)
    if guided:
        plain = plain + (x_0 - fusion['guess'](guide).T).square().mean(1)
    torch.testing.assert_close(error, plain * diffusion.loss_weight[timesteps])
    torch.testing.assert_close(alignment, (predicted @ features - x_0 @ item_embeds).square().mean(1))


@pytest.mark.parametrize('dims', [(6,), (7, 5), (8, 3, 6)])
@pytest.mark.parametrize('settings', [
    {}, {'sampling_steps': 1}, {'sampling_steps': 6}, {'sampling_noise': True}, {'norm': True}])
@pytest.mark.parametrize('steps', [1, 6])
def test_sampling_in_the_hidden_space(rows, generator, dims, settings, steps):
    settings = dict(settings)
    model = make_denoiser(14, dims, generator, settings.pop('norm', False))
    settings['sampling_steps'] = min(settings.get('sampling_steps', 0), steps)
    diffusion = GaussianDiffusion(steps, *SCHEDULE)
    with torch.no_grad():
        plain = diffusion.sample(model, rows.dense(torch.float64), **settings,
                                 generator=torch.Generator().manual_seed(3))
        ours = make_sampler(diffusion, model, **settings, generator=torch.Generator().manual_seed(3))(rows)
    torch.testing.assert_close(ours, plain)


def test_sampling_where_the_last_step_keeps_the_row(rows, generator):
    """A schedule of another kind: every coefficient of the recursion counts."""
    model, diffusion = make_denoiser(14, (6,), generator), GaussianDiffusion(4, *SCHEDULE)
    diffusion.posterior_mean_coef1 = torch.tensor([0.7, 0.2, 0.5, 0.3], dtype=torch.float64)
    diffusion.posterior_mean_coef2 = torch.tensor([0.4, 0.9, 0.6, 0.8], dtype=torch.float64)
    with torch.no_grad():
        for steps in (0, 3):
            first, second = (torch.Generator().manual_seed(3) for _ in range(2))
            plain = diffusion.sample(model, rows.dense(torch.float64), steps, generator=first)
            torch.testing.assert_close(make_sampler(diffusion, model, steps, generator=second)(rows), plain)


def test_posterior_noise(rows, generator):
    """With sampling noise, the first step's result spreads by the posterior's variance around its mean."""
    diffusion, model = GaussianDiffusion(2, 1, 0.1, 0.5), make_denoiser(14, (6,), generator)
    seen = []
    forward = model.forward
    model.forward = lambda x, timesteps: seen.append(x) or forward(x, timesteps)
    with torch.no_grad():
        for _ in range(400):
            diffusion.sample(model, rows.dense(torch.float64), sampling_noise=True, generator=generator)
    after_one_step = torch.stack(seen[1::2])
    torch.testing.assert_close(after_one_step.var(0).mean(), diffusion.posterior_variance[1], rtol=0.1, atol=0)
