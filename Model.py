"""MDMNS (docs/SPEC.md sections 3 to 6): the training of its denoisers, the graph network and its losses.

Shapes: U users, I items, B rows in a batch, d = latdim, d_m a modality's width.
Section numbers are those of docs/SPEC.md; what the flags beyond the release do is in docs/VARIANTS.md.
"""
import torch
from torch import nn

from DataHandler import UserRows, require_features
from Params import TRAINED
from Utils.Adam import Adam
from Utils.Diffusion import Denoiser, GaussianDiffusion, draw_fusion, losses_by_parts, part_rows
from Utils.Errors import InputError
from Utils.FastSampling import make_sampler
from Utils.Graph import Graph, drop_entries, normalised_graph
from Utils.Guidance import Guidance, ToldItems, told_of
from Utils.ItemGraphs import item_graphs_of, through
from Utils.Layers import Linear, MatrixProjection, degree_scale, random_bits, unit_rows
from Utils.Metrics import DotScores
from Utils.Pass import Pass
from Utils.Ranking import RANKED, Ranking
from Utils.Ranks import (
    add_up_gradients,
    apart,
    gathered,
    hand_round,
    own_part_of_each,
    own_parts,
    owner,
    rank,
)
from Utils.TimeLogger import progress
from Utils.Utils import (
    FUSED,
    batch_decay,
    cross_modal_loss,
    embedding_decay,
    multi_level_loss,
    noise_levels,
    rows_of,
)

TRAINED_GUIDANCE = ('learned', 'profile')


def slot(modality):
    """A modality's key in a ModuleDict: as in its file's name, since a bare `items` would hide a method of the dict."""
    return f'{modality}_feat'


class MDMNS(nn.Module):
    """The recommender with its modal diffusion denoisers.

    What the training loop asks of a model: `begin_epoch`, `losses`, `scores`, `loop_parameters`, `closed_form`,
    `needs_features` and `flags`.
    """

    closed_form, needs_features = False, True
    flags = TRAINED | RANKED | {
        'latdim', 'gnn_layer', 'trans', 'ris_lambda', 'ris_adj_lambda', 'reg', 'cl_method', 'ssl_reg', 'temp',
        'noise_levels', 'cl_sample', 'nce_chunk', 'guidance', 'guide_fused_hidden_dim', 'dims', 'd_emb_size', 'norm',
        'steps', 'noise_scale', 'noise_min', 'noise_max', 'sampling_noise', 'sampling_steps', 'rebuild_k', 'e_loss',
        'keepRate', 'fused', 'score', 'decay', 'layers', 'item_lambda', 'item_links', 'item_layers', 'rebuild_from',
        'rebuild_weights'}

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
        self.ranking = Ranking(settings, self.rows)
        self.item_graphs = self.graphs_between_items(dataset)
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
            self.denoisers[slot(name)] = self.new_denoiser(dataset.n_items)
        self.diffusion = GaussianDiffusion(settings.steps, settings.noise_scale, settings.noise_min,
                                           settings.noise_max, device)
        self.denoiser_optimisers = {
            name: Adam(self.denoisers[slot(name)].parameters(), settings.lr, fused=True)
            for name in self.modalities}

    def graphs_between_items(self, dataset):
        """N_m of every modality, with --item_lambda."""
        settings = self.settings
        return item_graphs_of(dataset, settings, self.features) if settings.item_lambda else {}

    def new_denoiser(self, n_items):
        settings, generator = self.settings, self.generator
        denoiser = Denoiser(n_items, settings.dims, settings.d_emb_size, settings.norm, generator)
        if self.guided() in TRAINED_GUIDANCE:
            denoiser.guidance = Guidance(settings.latdim, settings.guide_fused_hidden_dim, settings.dims[-1],
                                         self.guided() == 'learned', generator)
        return denoiser

    def guided(self):
        """The value of --guidance."""
        return self.settings.guidance

    def loop_parameters(self):
        """What the training loop's own Adam trains: all but the denoisers, which have theirs."""
        return [self.user_embeds, self.item_embeds, self.modal_weight, *self.projections.parameters()]

    def get_extra_state(self):
        """What belongs to the model's state beside its parameters and buffers; part of `state_dict()`, for which all
        processes of a run have to ask."""
        self.hand_round_denoisers(with_moments=True)
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
        """sum_{l=0..gnn_layer} A^l [users; items], or with --layers mean that over gnn_layer + 1 (LightGCN, SIGIR
        2020)."""
        totals = [users, items]
        for _ in range(self.settings.gnn_layer):
            users, items = self.adj(users, items)
            totals = [totals[0] + users, totals[1] + items]
        if self.settings.layers == 'mean':
            return [total / (self.settings.gnn_layer + 1) for total in totals]
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
        alike = self.items_from_alike(projected)
        for name, table in alike.items():
            hidden[name][1] = hidden[name][1] + table
        if fused:
            weights = dict(zip(projected, self.modal_weight.softmax(0), strict=True))
            mixed = sum(weights[name] * nodes for name, (_, nodes) in hidden.items())
            hidden[FUSED] = aggregate(mixed, torch.addcmul(users_of_items, adj.user_loops, users),
                                      torch.addcmul(items_of_users, adj.item_loops, items))
            if alike:
                hidden[FUSED][1] = hidden[FUSED][1] + sum(weights[name] * table for name, table in alike.items())
        return {name: tuple(torch.add(total, unit_rows(nodes), alpha=self.settings.ris_lambda)
                            for total, nodes in zip(self.layers(*pair), pair, strict=True))
                for name, pair in hidden.items()}

    def items_from_alike(self, modalities):
        """item_lambda N_m^item_layers E_i (I, d) of these modalities (LATTICE, ACM MM 2021; fixed as in FREEDOM, ACM MM
        2023); nothing without --item_lambda."""
        return {name: self.settings.item_lambda * through(graph, self.item_embeds, self.settings.item_layers)
                for name, graph in self.item_graphs.items() if name in modalities}

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
        trained = settings.fused != 'released'
        needed, parts = projected, None
        if not (multi_level or trained or settings.decay == 'outputs'):  # then a process needs few outputs
            parts = own_part_of_each(self.modalities, len(users))
            needed = {name: projected[name] for name in parts}
        outputs = self.outputs(needed, fused=multi_level or trained)  # else nothing trains through O_f
        if multi_level:
            contrast = multi_level_loss(outputs, self.levels(), settings.temp, self.noise_like_items,
                                        self.contrast_sample(), settings.nce_chunk, trained)
        else:
            contrast = cross_modal_loss(self.contrast_views(projected), users, positives, settings.temp,
                                        settings.nce_chunk)
        return {**self.ranking_terms(self.ranked(outputs), users, positives, negatives, settings.batch,
                                     parts and parts.values()),
                'cl': settings.ssl_reg * contrast}

    def ranked(self, outputs):
        """What the loss of ranking is of: pairs (users (U, n), items (I, n))."""
        if self.settings.fused == 'joint':  # tables side by side: their inner product is the score
            return [tuple(torch.cat(tables, 1) for tables in zip(*self.scored(outputs).values(), strict=True))]
        return [pair for name, pair in outputs.items() if name != FUSED or self.settings.fused == 'trained']

    def scored(self, outputs):
        """The outputs whose inner products are added up to the score."""
        chosen = {FUSED: outputs[FUSED]} if self.settings.score == 'fused' else outputs
        return {name: self.ranking.scored(pair) for name, pair in chosen.items()}

    def ranking_terms(self, ranked, users, positives, negatives, size, parts=None):
        """The loss of ranking, summed over the pairs of tables and the triples and divided by size, and the decay:

            tables   reg (||E_u||^2 + ||E_i||^2)
            batch    reg * mean of (||u||^2 + ||p||^2 + ||n||^2)/2 of the batch's rows of E_u, E_i (as LightGCN's)
            outputs  the same of the rows of what is ranked, summed over the pairs: no matrix undoes it

        parts: where whole pairs are shared out among the processes, the triples of each that fall to this one.
        """
        def rows(user_table, item_table, part=slice(None)):
            return (rows_of(user_table, users[part]), rows_of(item_table, positives[part]),
                    rows_of(item_table, negatives[part]))

        settings, embeds = self.settings, (self.user_embeds, self.item_embeds)
        if parts is None:
            loss = sum(self.ranking(rows(*pair), positives, lambda pair=pair: pair[1]) for pair in ranked)
        else:
            loss = torch.zeros((), device=users.device)  # where no pair falls to this process
            with apart():
                for pair, part in zip(ranked, parts, strict=True):
                    loss = loss + self.ranking(rows(*pair, part), positives[part], lambda pair=pair: pair[1])
        if settings.decay == 'tables':
            decay = embedding_decay(*embeds)
        else:
            decay = sum(batch_decay(*rows(*pair)) for pair in (ranked if settings.decay == 'outputs' else [embeds]))
        return {self.ranking.name: loss / size, 'reg': settings.reg * decay}

    def levels(self):
        """The noise of the multi-level negatives."""
        given = self.settings.noise_levels
        return noise_levels(self.settings.steps) if given is None else given

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
        return DotScores(self.scored(self.outputs(self.project())))

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
        self.denoiser_pass = steps = self.denoiser_pass or Pass(len(self.user_embeds), self.generator)
        with torch.no_grad():
            features = self.project()
        guides = self.guides(features) if self.guided() == 'released' else {}
        shown, told_items = self.told(features)
        for users in steps.batches(self.settings.batch, 'denoisers'):
            steps.add({f'diffusion_{name}': self.train_denoiser(name, users, features[name], guides.get(name),
                                                                shown.get(name), told_items.get(name))
                       for name in self.modalities})
            boundary()
        for optimiser in self.denoiser_optimisers.values():
            optimiser.zero_grad()  # frees the gradients until the next epoch
        self.hand_round_denoisers()
        return steps.means()

    def owner_of(self, name):
        """The process that trains a modality's denoiser by itself, or None."""
        return owner(list(self.modalities).index(name), len(self.modalities))

    def hand_round_denoisers(self, with_moments=False):
        """Give every process the denoisers that another one trains, as a checkpoint needs it with Adam's moments."""
        for name, optimiser in self.denoiser_optimisers.items():
            hand_round([parameter.detach() for parameter in self.denoisers[slot(name)].parameters()],
                       self.owner_of(name))
            if with_moments:
                hand_round(optimiser.state_tensors(), self.owner_of(name))

    def train_denoiser(self, name, users, features, guide, shown=None, told_items=None):
        """A step of a modality's denoiser on the rows of users (B,): its loss, of this process's share of them."""
        settings, generator, device = self.settings, self.generator, self.generator.device
        shape = n, _ = len(users), self.rows.shape[1]
        timesteps = torch.randint(settings.steps, (n,), generator=generator, device=device)
        noise = torch.randn(shape, generator=generator, device=device)
        kept = random_bits(shape, generator)
        fusion = (None if guide is None else
                  draw_fusion(n, settings.latdim, settings.guide_fused_hidden_dim, generator))
        denoiser, optimiser = self.denoisers[slot(name)], self.denoiser_optimisers[name]
        optimiser.zero_grad()
        total = self.item_embeds.new_zeros(())
        if self.owner_of(name) not in (None, rank()):
            optimiser.begin()  # for the owner's moments
            return total
        with apart(self.owner_of(name) is not None):
            for error, alignment in losses_by_parts(
                    self.diffusion, denoiser, self.rows, users, timesteps, noise, features, self.item_embeds.detach(),
                    guide, fusion, kept, settings.precision == 'bf16', shown, told_items):
                loss = error.sum() / n + settings.e_loss * (alignment.sum() / n)
                loss.backward()
                total = total + loss.detach()
            add_up_gradients(denoiser.parameters())
        optimiser.step()
        return total

    def told(self, projected):
        """For trained guidance by modality, else nothing: the features that users' profiles are of, and ToldItems. Both
        are of unit length, so that no modality outweighs another by its units."""
        if self.guided() not in TRAINED_GUIDANCE:
            return {}, {}
        degrees = torch.bincount(self.rows.items, minlength=self.rows.shape[1])
        scale = degree_scale(degrees.to(self.item_embeds.dtype))
        return ({name: unit_rows(table) for name, table in projected.items()},
                {name: ToldItems(unit_rows(guide), scale) for name, guide in self.guides(projected).items()})

    def rebuild_graphs(self):
        """Each user's rebuild_k largest items of the sample become the modal graphs (section 3); with --rebuild_from
        new, of those that are not hers yet, and with --rebuild_weights sample, weighed by max(0, sample) over that of
        the largest."""
        settings, k = self.settings, self.settings.rebuild_k
        users = torch.arange(len(self.user_embeds), device=self.generator.device)
        tops = self.sampled_tops(users.split(settings.batch), k)
        self.modal_adj = {}
        for name, (values, items) in tops.items():
            there = values != -torch.inf  # who has nearly every item has fewer than k new ones
            weights = None
            if settings.rebuild_weights == 'sample':
                weights = (values.relu() / values[:, :1].clamp(min=1e-12))[there]
            graph = normalised_graph(users.repeat_interleave(k)[there.flatten()], items[there], self.rows.shape,
                                     weights=weights)
            self.modal_adj[name] = drop_entries(graph, settings.keepRate, self.generator)

    @torch.inference_mode()
    def sampled_tops(self, batches, k):
        """Of every modality's sample of the users' rows the k largest values and their items, (U, k) both.

        Each process samples its share of the rows, but all of them where noise is drawn.
        """
        settings, generator = self.settings, self.generator
        drawn, n_items = settings.sampling_steps or settings.sampling_noise, self.rows.shape[1]
        shown, told_items = self.told(self.project())
        samplers = {name: make_sampler(self.diffusion, self.denoisers[slot(name)], settings.sampling_steps,
                                       settings.sampling_noise, generator, told_items.get(name))
                    for name in self.modalities}
        sampled, tops = [], {name: [] for name in self.modalities}
        for users in progress(batches, 'graphs'):
            for part in [slice(None)] if drawn else own_parts(len(users), part_rows(len(users), n_items)):
                x_0 = self.rows.batch(users[part])
                sampled.append(users[part])
                for name, sample_rows in samplers.items():
                    sample = sample_rows(x_0, told_of(x_0, shown[name]) if shown else None)
                    if settings.rebuild_from == 'new':
                        sample[x_0.positions] = -torch.inf
                    tops[name].append(sample.topk(k, dim=1))
        whole = {name: tuple(map(torch.cat, zip(*top, strict=True))) for name, top in tops.items()}
        if drawn:
            return whole
        n_users, sampled = len(self.user_embeds), torch.cat(sampled)
        return {name: tuple(gathered(table, n_users, sampled) for table in tables) for name, tables in whole.items()}
