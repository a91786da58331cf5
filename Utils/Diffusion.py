"""The modal diffusion of MDMNS (SPEC section 3): noise schedule and processes, denoiser, guidance, losses.

Shapes: U users, I items, B rows in a batch, d = latdim, h = guide_fused_hidden_dim.
"""
import math
from itertools import pairwise
from types import SimpleNamespace

import torch
from torch import nn

from Utils.Guidance import told_of
from Utils.Layers import Linear, degree_scale, timestep_embedding, unit_rows
from Utils.Ranks import add_up_all, own_parts
from Utils.Utils import guess_error, reconstruction_errors

DROPOUT = 0.5  # of the denoisers' input while they train
AT_ONCE = 2**25  # entries of rows x items up to which a batch is worked on as a whole
PART_ENTRIES, PART_ROWS = 2**23, 256  # otherwise: a part's entries, and the rows that it has at least


class Denoiser(nn.Module):
    """f(x, t), which predicts x_0 (section 3): layers I + size -> reversed(dims) and back dims -> I, tanh between.

    The first layer's weights for the items (I, width) and for the time embedding are kept apart, so that the two
    inputs need not be joined. `guidance`, a `Guidance` or None, adds to what they make of the items.
    """

    def __init__(self, n_items, dims, time_size, norm, generator):
        super().__init__()

        def layer(n_in, n_out, fan_in=None):
            return Linear(n_in, n_out, generator, std=math.sqrt(2 / ((fan_in or n_in) + n_out)))

        widths = [*reversed(dims)]
        self.norm = norm
        self.time_size = time_size
        self.time = layer(time_size, time_size)
        self.first_time = layer(time_size, widths[0], fan_in=n_items + time_size)
        self.first_items = nn.Parameter(torch.empty(n_items, widths[0], device=generator.device))
        nn.init.normal_(self.first_items, std=math.sqrt(2 / (n_items + time_size + widths[0])), generator=generator)
        self.hidden = nn.ModuleList(layer(a, b) for a, b in [*pairwise(widths), *pairwise(dims)])
        self.last = layer(dims[-1], n_items)
        self.guidance = None

    def forward(self, x, timesteps, kept=None, told=None, told_items=None):
        """x (B, I), timesteps (B,) -> (B, I). kept: (B, I) true where the input is not dropped out; told, told_items:
        `Told` and `ToldItems` for a guidance."""
        if self.norm:
            x = unit_rows(x)
        if kept is not None:
            x = x * kept
        rest = 1 if kept is None else 1 - DROPOUT
        first = x @ self.first_items / rest
        if self.guidance is not None:
            nodes = self.guidance.item_nodes(told_items)
            seen = None if nodes is None else x @ nodes / rest
            first = first + self.guidance(told, seen, self.guidance.item_inputs(told_items, nodes, self.first_items))
        return self.last(self.inner(first, timesteps))

    def inner(self, first, timesteps):
        """What lies between the items' part of the first layer (B, width) and the last layer's input."""
        time = self.time(timestep_embedding(timesteps, self.time_size, first.dtype))
        hidden = torch.tanh(first + self.first_time(time))
        for layer in self.hidden:
            hidden = torch.tanh(layer(hidden))
        return hidden


class GaussianDiffusion(nn.Module):
    """The noise schedule and the processes it defines (section 3), for any denoiser. All buffers are float64."""

    def __init__(self, steps, noise_scale, noise_min, noise_max, device=None):
        super().__init__()
        self.steps = steps
        v = torch.linspace(noise_scale * noise_min, noise_scale * noise_max, steps, dtype=torch.float64, device=device)
        betas = torch.cat([v[:1], (1 - (1 - v[1:]) / (1 - v[:-1])).clamp(max=0.999)])
        betas[0] = 1e-4
        abar = torch.cumprod(1 - betas, 0)
        before = torch.cat([torch.ones_like(abar[:1]), abar[:-1]])
        variance = betas * (1 - before) / (1 - abar)
        snr = abar / (1 - abar)
        self.register_buffer('betas', betas)
        self.register_buffer('alphas_cumprod', abar)
        self.register_buffer('posterior_mean_coef1', betas * before.sqrt() / (1 - abar))
        self.register_buffer('posterior_mean_coef2', (1 - before) * (1 - betas).sqrt() / (1 - abar))
        self.register_buffer('posterior_variance', variance)
        self.register_buffer('posterior_log_variance_clipped', torch.cat([variance[1:2], variance[1:]]).log())
        self.register_buffer('loss_weight', torch.cat([torch.ones_like(snr[:1]), snr[:-1] - snr[1:]]))

    def noised(self, x_0, timesteps, noise):
        """The forward process: x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise."""
        abar = self.alphas_cumprod[timesteps, None]
        return abar.sqrt().to(x_0.dtype) * x_0 + (1 - abar).sqrt().to(x_0.dtype) * noise

    def noised_rows(self, x_0, timesteps, noise):
        """`noised` of a RowBatch."""
        return self.noised_rows_(x_0, timesteps, noise.clone())

    def noised_rows_(self, x_0, timesteps, x_t):
        """The same in the place of the noise x_t."""
        abar = self.alphas_cumprod[timesteps]
        x_t *= (1 - abar).sqrt().to(x_t.dtype)[:, None]
        x_t[x_0.positions] += abar.sqrt().to(x_t.dtype)[x_0.rows]
        return x_t

    def sample(self, denoiser, x_0, sampling_steps=0, sampling_noise=False, generator=None):
        """The reverse process from the rows x_0 (B, I), noised first if sampling_steps > 0; dropout off."""
        def draw():
            return torch.randn(x_0.shape, generator=generator, dtype=x_0.dtype, device=x_0.device)

        x = x_0
        if sampling_steps:
            x = self.noised(x_0, torch.full_like(x_0[:, 0], sampling_steps - 1, dtype=torch.int64), draw())
        for step in reversed(range(self.steps)):
            timesteps = torch.full_like(x[:, 0], step, dtype=torch.int64)
            x = self.posterior_mean_coef1[step] * denoiser(x, timesteps) + self.posterior_mean_coef2[step] * x
            if sampling_noise and step:
                x = x + (0.5 * self.posterior_log_variance_clipped[step]).exp() * draw()
        return x


def draw_fusion(n_rows, latdim, hidden, generator):
    """The guidance's weights, which the released program draws at every call and never trains: random user
    embeddings (B, h), a layer d -> h for the items' features, the layer h -> h of the graph convolution, and
    the layer d -> B of the guess."""
    return {'users': torch.randn(n_rows, hidden, generator=generator, device=generator.device),
            'items': Linear(latdim, hidden, generator).requires_grad_(False),
            'convolution': Linear(hidden, hidden, generator).requires_grad_(False),
            'guess': Linear(latdim, n_rows, generator).requires_grad_(False)}


def fuse(x_t, guide, weights, sums=None):
    """Guidance (section 3): noised rows x_t (B, I) and a guide (I, d) -> fused rows (B, I).

    With A = [[0, x_t], [x_t', 0]] + Identity, s = (row sums of A, at least 1e-8)^-1/2 and nodes
    [users; items(guide)]: out = convolution((s A s) nodes), fused = out's users times out's items. A is never built.

    sums: where x_t are some rows of a batch, `row_sums` of all of them.
    """
    seen, gathered = sums or row_sums(x_t, weights)
    user_scale, item_scale = degree_scale(x_t.sum(1)), degree_scale(seen)
    users, items = user_scale * weights['users'], item_scale * weights['items'](guide)
    convolution = weights['convolution']
    return convolution(user_scale * (users + x_t @ items)) @ convolution(item_scale * (items + gathered)).T


def row_sums(x_t, weights):
    """What items gather from the rows x_t (B, I): their sums (I,), and those of the scaled users' embeddings (I, h)."""
    return x_t.sum(0), x_t.T @ (degree_scale(x_t.sum(1)) * weights['users'])


def denoising_losses(diffusion, denoiser, x_0, timesteps, noise, features, item_embeds, guide=None, fusion=None,
                     kept=None, bf16=False, told=None, told_items=None):
    """Per-user losses of the denoiser on the rows x_0, a RowBatch (section 3): two vectors (B,).

    First: w_t (mean_i (x_0 - f)^2 + mean_i (x_0 - g)^2), the second part only with a guide. Second: the modal
    alignment mean_d (f features - x_0 item_embeds)^2. No gradient flows through the denoiser's input. told,
    told_items: for a denoiser with a `Guidance`.
    """
    x_t = diffusion.noised_rows(x_0, timesteps, noise)
    return noised_losses(diffusion, denoiser, x_0, x_t, timesteps, features, item_embeds, guide, fusion, kept, bf16,
                         told, told_items)


def noised_losses(diffusion, denoiser, x_0, x_t, timesteps, features, item_embeds, guide, fusion, kept, bf16, told,
                  told_items, sums=None):
    """`denoising_losses` of rows that are noised already."""
    with torch.no_grad():
        seen = x_t if guide is None else fuse(x_t, guide, fusion, sums)
    with torch.autocast(seen.device.type, torch.bfloat16, enabled=bf16):
        predicted = denoiser(seen, timesteps, kept, told, told_items).to(seen.dtype)
    error, alignment = reconstruction_errors(predicted, x_0, features, item_embeds)
    if guide is not None:
        error = error + guess_error(x_0, guide, fusion['guess'].weight, fusion['guess'].bias)
    return diffusion.loss_weight[timesteps].to(error.dtype) * error, alignment


def losses_by_parts(diffusion, denoiser, rows, users, timesteps, noise, features, item_embeds, guide, fusion, kept,
                    bf16, shown=None, told_items=None):
    """`denoising_losses` of this process's share of a batch of users (B,), a part at a time: a vector per part of each
    kind. rows: UserRows; shown (I, d): the features of users' profiles, for a denoiser with a `Guidance`; what is drawn
    is so for the whole batch; the noise is overwritten.

    What a part needs of the others, the guidance's `row_sums`, is added up first.
    """
    parts = [(part, rows.batch(users[part])) for part in own_parts(len(users), part_rows(*noise.shape))]
    for part, x_0 in parts:
        diffusion.noised_rows_(x_0, timesteps[part], noise[part])
    sums = None
    if guide is not None:
        with torch.no_grad():
            for part, _ in parts:
                ours = row_sums(noise[part], {'users': fusion['users'][part]})
                sums = ours if sums is None else [a.add_(b) for a, b in zip(sums, ours, strict=True)]
        add_up_all(sums)
    for part, x_0 in parts:
        weights = fusion and {**fusion, 'users': fusion['users'][part], 'guess': SimpleNamespace(
            weight=fusion['guess'].weight[part], bias=fusion['guess'].bias[part])}
        yield noised_losses(diffusion, denoiser, x_0, noise[part], timesteps[part], features, item_embeds, guide,
                            weights, kept[part], bf16, None if shown is None else told_of(x_0, shown, kept[part]),
                            told_items, sums)


def part_rows(n_rows, n_items):
    """How many rows of a batch are worked on at a time."""
    return n_rows if n_rows * n_items <= AT_ONCE else max(PART_ROWS, PART_ENTRIES // n_items)
