"""MDMNS (SPEC.md sections 3 to 6): modal diffusion denoisers, guidance, the graph network and its losses.

Shapes: U users, I items, B rows in a batch, d = latdim, d_m a modality's width, h = guide_fused_hidden_dim.
Section numbers are those of SPEC.md.
"""
import math
from itertools import pairwise

import torch
from torch import nn

from DataHandler import UserRows, require_features
from Utils.Errors import InputError
from Utils.FastSampling import make_sampler
from Utils.Graph import Graph, drop_entries, normalised_graph
from Utils.Layers import Linear, MatrixProjection, random_bits, timestep_embedding, unit_rows
from Utils.Metrics import DotScores
from Utils.Pass import Pass
from Utils.TimeLogger import progress
from Utils.Utils import (
    FUSED,
    cross_modal_loss,
    embedding_decay,
    guess_error,
    modal_bpr_loss,
    multi_level_loss,
    noise_levels,
    reconstruction_errors,
)

DROPOUT = 0.5  # of the denoisers' input while they train


class Denoiser(nn.Module):
    """f(x, t), which predicts x_0 (section 3): layers I + size -> reversed(dims) and back dims -> I, tanh between.

    The first layer's weights for the items (I, width) and for the time embedding are kept apart, so that the two
    inputs need not be joined.
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

    def forward(self, x, timesteps, kept=None):
        """x (B, I), timesteps (B,) -> (B, I). kept: (B, I) true where the input is not dropped out."""
        if self.norm:
            x = unit_rows(x)
        if kept is not None:
            x = x * kept
        first = x @ self.first_items
        return self.last(self.inner(first if kept is None else first / (1 - DROPOUT), timesteps))

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
        abar = self.alphas_cumprod[timesteps]
        x_t = noise * (1 - abar).sqrt().to(noise.dtype)[:, None]
        x_t[x_0.positions] += abar.sqrt().to(noise.dtype)[x_0.rows]
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


def fuse(x_t, guide, weights):
    """Guidance (section 3): noised rows x_t (B, I) and a guide (I, d) -> fused rows (B, I).

    With A = [[0, x_t], [x_t', 0]] + Identity, s = (row sums of A, at least 1e-8)^-1/2 and nodes
    [users; items(guide)]: out = convolution((s A s) nodes), fused = out's users times out's items. A is never built.
    """
    user_scale = (1 + x_t.sum(1)).clamp(min=1e-8).rsqrt()[:, None]
    item_scale = (1 + x_t.sum(0)).clamp(min=1e-8).rsqrt()[:, None]
    users, items = user_scale * weights['users'], item_scale * weights['items'](guide)
    convolution = weights['convolution']
    return convolution(user_scale * (users + x_t @ items)) @ convolution(item_scale * (items + x_t.T @ users)).T


def denoising_losses(diffusion, denoiser, x_0, timesteps, noise, features, item_embeds, guide=None, fusion=None,
                     kept=None, bf16=False):
    """Per-user losses of the denoiser on the rows x_0, a RowBatch (section 3): two vectors (B,).

    First: w_t (mean_i (x_0 - f)^2 + mean_i (x_0 - g)^2), the second part only with a guide. Second: the modal
    alignment mean_d (f features - x_0 item_embeds)^2. No gradient flows through the denoiser's input.
    """
    with torch.no_grad():
        seen = diffusion.noised_rows(x_0, timesteps, noise)
        if guide is not None:
            seen = fuse(seen, guide, fusion)
    with torch.autocast(seen.device.type, torch.bfloat16, enabled=bf16):
        predicted = denoiser(seen, timesteps, kept).to(seen.dtype)
    error, alignment = reconstruction_errors(predicted, x_0, features, item_embeds)
    if guide is not None:
        error = error + guess_error(x_0, guide, fusion['guess'].weight, fusion['guess'].bias)
    return diffusion.loss_weight[timesteps].to(error.dtype) * error, alignment


def slot(modality):
    """A modality's key in a ModuleDict: as in its file's name, since a bare `items` would hide a method of the dict."""
    return f'{modality}_feat'


class MDMNS(nn.Module):
    """The recommender with its modal diffusion denoisers.

    What the training loop asks of a model: `begin_epoch`, `losses`, `scores`, `loop_parameters` and `closed_form`.
    """

    closed_form = False

    def __init__(self, dataset, settings, generator):
        super().__init__()
        require_features(dataset, type(self).__name__)
        if FUSED in dataset.modalities:
            raise InputError(f'A modality cannot be called {FUSED}, the name of the output that joins them: rename its '
                             'file or leave it out with --modalities.')
        self.settings = settings
        self.generator = generator
        self.modalities = dataset.modalities
        device, d = generator.device, settings.latdim
        self.rows = UserRows(dataset.train, device)
        self.features = {name: torch.as_tensor(table, device=device) for name, table in dataset.features.items()}
        self.adj = normalised_graph(self.rows.users, self.rows.items, self.rows.shape)
        self.modal_adj = {}  # rebuilt by begin_epoch
        self.denoiser_pass = None  # the one in progress

        self.user_embeds = nn.Parameter(torch.empty(dataset.n_users, d, device=device))
        self.item_embeds = nn.Parameter(torch.empty(dataset.n_items, d, device=device))
        for table in (self.user_embeds, self.item_embeds):
            nn.init.xavier_uniform_(table, generator=generator)
        self.modal_weight = nn.Parameter(torch.full((len(self.modalities),), 1 / len(self.modalities), device=device))
        self.projections = nn.ModuleDict()
        self.denoisers = nn.ModuleDict()
        for name, table in self.features.items():
            linear = settings.trans == 1 or (settings.trans == 2 and name == 'text')
            self.projections[slot(name)] = (Linear if linear else MatrixProjection)(table.shape[1], d, generator)
            self.denoisers[slot(name)] = Denoiser(dataset.n_items, settings.dims, settings.d_emb_size, settings.norm,
                                            generator)
        self.diffusion = GaussianDiffusion(settings.steps, settings.noise_scale, settings.noise_min,
                                           settings.noise_max, device)
        self.levels = noise_levels(settings.steps) if settings.noise_levels is None else settings.noise_levels
        self.denoiser_optimisers = {
            name: torch.optim.Adam(self.denoisers[slot(name)].parameters(), settings.lr, fused=True)
            for name in self.modalities}

    def loop_parameters(self):
        """What the training loop's own Adam trains: all but the denoisers, which have theirs."""
        return [self.user_embeds, self.item_embeds, self.modal_weight, *self.projections.parameters()]

    def get_extra_state(self):
        """What belongs to the model's state beside its parameters and buffers; part of `state_dict()`."""
        return {'modal_adj': {name: adj.state() for name, adj in self.modal_adj.items()},
                'denoiser_pass': self.denoiser_pass and self.denoiser_pass.state(),
                'denoiser_optimisers': {name: optimiser.state_dict()
                                        for name, optimiser in self.denoiser_optimisers.items()}}

    def set_extra_state(self, state):
        device = self.generator.device
        self.modal_adj = {name: Graph.from_state(adj, device) for name, adj in state['modal_adj'].items()}
        self.denoiser_pass = state['denoiser_pass'] and Pass.from_state(state['denoiser_pass'], device)
        for name, optimiser in self.denoiser_optimisers.items():
            optimiser.load_state_dict(state['denoiser_optimisers'][name])

    # The graph network (section 5)

    def project(self):
        """F_m (I, d) of every modality."""
        return {name: self.projections[slot(name)](table) for name, table in self.features.items()}

    def layers(self, users, items):
        """sum_{l=0..gnn_layer} A^l [users; items]."""
        totals = [users, items]
        for _ in range(self.settings.gnn_layer):
            users, items = self.adj(users, items)
            totals = [totals[0] + users, totals[1] + items]
        return totals

    def outputs(self, projected, fused=True):
        """Users and items of every O_m, and of O_f if asked for: name -> (users (U, d), items (I, d)).

        A [E_u; norm(F)] and A [users of that; E_i] share A's product with E_i and with E_u among all outputs.
        """
        users, items, adj = self.user_embeds, self.item_embeds, self.adj
        users_of_items, items_of_users = adj.to_users @ items, adj.to_items @ users

        def aggregate(table, graph_users, graph_items):
            table = unit_rows(table)
            first_users = (adj.to_users @ table).addcmul_(adj.user_loops, users)
            first_items = torch.addcmul(items_of_users, adj.item_loops, table)
            second_users = torch.addcmul(users_of_items, adj.user_loops, first_users)
            second_items = (adj.to_items @ first_users).addcmul_(adj.item_loops, items)
            return [second.add_(first).add_(graph, alpha=self.settings.ris_adj_lambda) for second, first, graph in
                    ((second_users, first_users, graph_users), (second_items, first_items, graph_items))]

        hidden = {name: aggregate(table, *self.modal_adj[name](users, items)) for name, table in projected.items()}
        if fused:
            mixed = sum(weight * nodes for weight, (_, nodes) in zip(self.modal_weight.softmax(0), hidden.values(),
                                                                     strict=True))
            hidden[FUSED] = aggregate(mixed, torch.addcmul(users_of_items, adj.user_loops, users),
                                      torch.addcmul(items_of_users, adj.item_loops, items))
        return {name: tuple(torch.add(total, unit_rows(nodes), alpha=self.settings.ris_lambda)
                            for total, nodes in zip(self.layers(*pair), pair, strict=True))
                for name, pair in hidden.items()}

    def contrast_views(self, projected):
        """Users and items of V_m = sum_{l=0..gnn_layer} A^l G_m [E_u; norm(F_m)] of every modality (section 6)."""
        return {name: self.layers(*self.modal_adj[name](self.user_embeds, unit_rows(table)))
                for name, table in projected.items()}

    # What the training loop calls

    def losses(self, users, positives, negatives):
        """The named terms of a batch's loss, weights included; their sum is what is minimised (section 6)."""
        settings = self.settings
        multi_level = settings.cl_method == 1
        projected = self.project()
        outputs = self.outputs(projected, fused=multi_level)  # without the multi-level loss nothing trains through O_f
        if multi_level:
            contrast = multi_level_loss(outputs, self.levels, settings.temp, self.noise_like_items,
                                        self.contrast_sample(), settings.nce_chunk)
        else:
            contrast = cross_modal_loss(self.contrast_views(projected), users, positives, settings.temp,
                                        settings.nce_chunk)
        return {'bpr': modal_bpr_loss(outputs, users, positives, negatives, settings.batch),
                'reg': settings.reg * embedding_decay(self.user_embeds, self.item_embeds),
                'cl': settings.ssl_reg * contrast}

    def noise_like_items(self, *_):
        return torch.randn(self.item_embeds.shape, generator=self.generator, device=self.generator.device)

    def contrast_sample(self):
        """With --cl_sample, the users and items drawn (with replacement) for this step's contrast; else None."""
        n, device = self.settings.cl_sample, self.generator.device
        return n and tuple(torch.randint(size, (n,), generator=self.generator, device=device)
                           for size in self.rows.shape)

    @torch.no_grad()
    def scores(self):
        """The scoring function of the model as it stands: users (B,) -> (B, I)."""
        return DotScores(self.outputs(self.project()))

    def begin_epoch(self, boundary=lambda: None):
        """Train the denoisers for one pass over all users' rows and rebuild the modal graphs (section 4, 2 and 3).

        boundary: called after every step, when `state_dict()` has all that is needed to go on from there.
        Returns the mean diffusion loss of each modality.
        """
        figures = self.train_denoisers(boundary)
        self.rebuild_graphs()
        self.denoiser_pass = None
        return figures

    def guides(self, projected):
        """G_m: the mean of the other modalities' projected features; with a single modality, its own."""
        if len(projected) == 1:
            return projected
        return {name: sum(table for other, table in projected.items() if other != name) / (len(projected) - 1)
                for name in projected}

    def train_denoisers(self, boundary=lambda: None):
        """What is left of a pass over all users' rows; the mean loss of each denoiser."""
        settings, generator, device = self.settings, self.generator, self.generator.device
        self.denoiser_pass = steps = self.denoiser_pass or Pass(len(self.user_embeds), generator)
        with torch.no_grad():
            features = self.project()
        guides = self.guides(features) if settings.guidance == 'released' else {}
        for users in steps.batches(settings.batch, 'denoisers'):
            x_0 = self.rows.batch(users)
            losses = {}
            for name in self.modalities:
                timesteps = torch.randint(settings.steps, (len(users),), generator=generator, device=device)
                noise = torch.randn(x_0.shape, generator=generator, device=device)
                kept = random_bits(x_0.shape, generator)
                fusion = (draw_fusion(len(users), settings.latdim, settings.guide_fused_hidden_dim, generator)
                          if guides else None)
                error, alignment = denoising_losses(
                    self.diffusion, self.denoisers[slot(name)], x_0, timesteps, noise, features[name],
                    self.item_embeds.detach(), guides.get(name), fusion, kept,
                    settings.precision == 'bf16')
                loss = error.mean() + settings.e_loss * alignment.mean()
                self.denoiser_optimisers[name].zero_grad()
                loss.backward()
                self.denoiser_optimisers[name].step()
                losses[f'diffusion_{name}'] = loss
            steps.add(losses)
            boundary()
        for optimiser in self.denoiser_optimisers.values():
            optimiser.zero_grad()  # frees the gradients until the next epoch
        return steps.means()

    def rebuild_graphs(self):
        """Each user's rebuild_k largest items of the sample become the modal graphs (section 3)."""
        k = self.settings.rebuild_k
        users = torch.arange(len(self.user_embeds), device=self.generator.device)
        tops = self.sampled_tops(users.split(self.settings.batch), k)
        self.modal_adj = {
            name: drop_entries(normalised_graph(users.repeat_interleave(k), torch.cat(top).flatten(), self.rows.shape),
                               self.settings.keepRate, self.generator) for name, top in tops.items()}

    @torch.inference_mode()
    def sampled_tops(self, batches, k):
        """The k largest items (B, k) of every modality's sample of the users' rows, batch by batch."""
        settings, generator = self.settings, self.generator
        samplers = {name: make_sampler(self.diffusion, self.denoisers[slot(name)], settings.sampling_steps,
                                       settings.sampling_noise, generator) for name in self.modalities}
        tops = {name: [] for name in self.modalities}
        for users in progress(batches, 'graphs'):
            x_0 = self.rows.batch(users)
            for name, sample_rows in samplers.items():
                tops[name].append(sample_rows(x_0).topk(k, dim=1).indices)
        return tops
