"""What `python -m Benchmark` measures: each stage of an epoch, plain and ours, and what bounds it."""
import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F

from Baselines.features import held, product
from Benchmark import Plain
from DataHandler import SPLITS, Dataset, NegativeSampler, UserRows, load_matrix
from Model import MDMNS, slot
from Params import parse
from Utils.Diffusion import denoising_losses, draw_fusion, fuse
from Utils.FastSampling import make_sampler
from Utils.Graph import normalised_graph
from Utils.Layers import random_bits, unit_rows
from Utils.Metrics import evaluate
from Utils.NCE import nce, unit_self_nce
from Utils.Utils import embedding_decay, noise_levels

WIDTHS = {'image': 128, 'audio': 128}  # stand-in features
BRANDS = 1000  # columns of which each item has a 1 in one


@dataclass(frozen=True)
class Shape:
    """A data set's size and the flags it is run with."""

    name: str
    users: int
    items: int
    interactions: tuple  # training, validation, test
    flags: str


SHAPES = {shape.name: shape for shape in (
    Shape('tiktok', 9308, 6710, (59541, 3051, 6130), '--reg 1e-4 --trans 1'),
    Shape('baby', 19445, 7050, (118551, 21682, 20559),
          '--reg 1e-5 --ssl_reg 1e-1 --keepRate 1 --e_loss 0.01 --gnn_layer 2 --latdim 256 --steps 20'),
    Shape('sports', 35598, 18357, (218409, 40029, 37899),
          '--reg 1e-6 --ris_lambda 0.1 --e_loss 0.5 --keepRate 1 --trans 1 --latdim 256 --temp 0.1'))}


# the published commands: where they differ from SHAPES in width, and their contrast
PUBLISHED = tuple((replace(SHAPES[name], flags=f'{SHAPES[name].flags} {more}'), method) for name, more, method in
                  (('tiktok', '--latdim 512', 1), ('baby', '', 0), ('sports', '', 0)))


class Problem:
    """A model on a data set of the given shape with everything that the stages need, the same at each construction."""

    def __init__(self, shape, data_dir):
        self.shape = shape
        matrices, features = stand_in(shape, data_dir)
        self.generator = torch.Generator().manual_seed(0)
        self.settings = parse(shape.flags.split())
        self.model = MDMNS(Dataset(shape.name, features=features, **matrices), self.settings, self.generator)
        self.matrices = matrices
        self.name = next(iter(WIDTHS))
        self.denoiser = self.model.denoisers[slot(self.name)]
        self.batch = min(self.settings.batch, shape.users)
        self.x_0 = self.model.rows.batch(torch.arange(self.batch))
        self.timesteps = torch.arange(self.batch) % self.settings.steps
        with torch.no_grad():
            self.projected = self.model.project()
        self.guide = self.model.guides(self.projected)[self.name]
        edges = torch.arange(shape.users), torch.randint(shape.items, (shape.users,), generator=self.generator)
        self.model.modal_adj = dict.fromkeys(WIDTHS, normalised_graph(*edges, self.model.rows.shape))

    def seeded(self):
        """The generator at the same point, for both forms."""
        return self.generator.manual_seed(1)

    @cached_property
    def triples(self):
        sampler = NegativeSampler(self.model.rows)
        chosen = torch.randperm(len(sampler), generator=self.seeded())[:self.settings.batch]
        return sampler.users[chosen], sampler.positives[chosen], sampler.sample(self.generator)[chosen]

    def noise(self, name, number):
        seed = 10 * number + list(WIDTHS).index(name)
        return torch.randn(self.model.item_embeds.shape, generator=torch.Generator().manual_seed(seed))

    @cached_property
    def coo(self):
        """The two graphs as one sparse matrix each, in the form that the release multiplies with."""
        graphs = [self.model.adj, self.model.modal_adj[self.name]]
        return [graph.whole().coalesce() for graph in graphs]

    def plain_network(self):
        model, settings = self.model, self.settings
        adj, modal = self.coo
        return Plain.recommender(adj, dict.fromkeys(WIDTHS, modal), model.user_embeds, model.item_embeds,
                                 model.project(), model.modal_weight, settings.gnn_layer, settings.ris_lambda,
                                 settings.ris_adj_lambda)


def stand_in(shape, data_dir):
    """(`matrices_of`, features of random columns by modality)."""
    rng = np.random.default_rng(0)
    return matrices_of(shape, data_dir, rng), {
        name: rng.normal(size=(shape.items, width)).astype(np.float32) for name, width in WIDTHS.items()}


def matrices_of(shape, data_dir, rng=None):
    """The interactions of each split: the data set's, where its folder is in data_dir, else random ones."""
    folder = Path(data_dir or '.') / shape.name
    if data_dir and folder.is_dir():
        return {split: load_matrix(folder, stem) for split, stem in SPLITS.items()}
    rng = rng or np.random.default_rng(0)
    return {split: random_interactions(rng, shape, n) for split, n in zip(SPLITS, shape.interactions, strict=True)}


def random_interactions(rng, shape, n):
    users, items = rng.integers(shape.users, size=n), (shape.items * rng.random(n) ** 2).astype(int)
    matrix = sp.csr_matrix((np.ones(n, np.float32), (users, items)), (shape.users, shape.items))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def grads_of(loss, leaves):
    return [loss.detach(), *torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)]


# The stages: each a function of (problem, plain) that returns what is timed, a function without arguments whose result
# is a list of tensors.

def fusion(problem, plain):
    noise = torch.randn(problem.x_0.shape, generator=problem.seeded())
    x_t = problem.model.diffusion.noised_rows(problem.x_0, problem.timesteps, noise)
    weights = draw_fusion(problem.batch, problem.settings.latdim, problem.settings.guide_fused_hidden_dim,
                          problem.generator)
    if not plain:
        return lambda: [fuse(x_t, problem.guide, weights)]
    layers = [(weights[name].weight, weights[name].bias) for name in ('items', 'convolution')]
    return lambda: [Plain.fused(x_t, problem.guide, weights['users'], *layers)]


def denoiser_step(problem, plain):
    """Draws, forward, both losses, backward, Adam; without the fusion."""
    model, x_0, name = problem.model, problem.x_0, problem.name
    parameters = list(problem.denoiser.parameters())
    optimiser = torch.optim.Adam(parameters, 1e-3, **({'foreach': False} if plain else {'fused': True}))
    features, item_embeds = problem.projected[name], model.item_embeds.detach()

    def step():
        generator = problem.seeded()
        noise, kept = torch.randn(x_0.shape, generator=generator), random_bits(x_0.shape, generator)
        if plain:
            rows = x_0.dense()
            x_t = model.diffusion.noised(rows, problem.timesteps, noise)
            predicted = Plain.denoiser(dict(problem.denoiser.named_parameters()), x_t, problem.timesteps,
                                       dropout_mask=kept / 0.5)
            error = ((rows - predicted) ** 2).mean(1) * model.diffusion.loss_weight[problem.timesteps].float()
            alignment = ((predicted @ features - rows @ item_embeds) ** 2).mean(1)
        else:
            error, alignment = denoising_losses(model.diffusion, problem.denoiser, x_0, problem.timesteps, noise,
                                                features, item_embeds, kept=kept)
        optimiser.zero_grad()
        (error.mean() + problem.settings.e_loss * alignment.mean()).backward()
        optimiser.step()
        gradients = [problem.denoiser.last.weight.grad, problem.denoiser.first_items.grad]
        return [error.detach(), alignment.detach(), *gradients]

    return step


def sampling(problem, plain):
    """One batch of users' rows, ours with the product of the two outer layers, once per epoch, made beforehand."""
    diffusion, denoiser, x_0 = problem.model.diffusion, problem.denoiser, problem.x_0
    with torch.inference_mode():
        sampler = None if plain else make_sampler(diffusion, denoiser)

    @torch.inference_mode()
    def sample():
        return [diffusion.sample(denoiser, x_0.dense()) if plain else sampler(x_0)]

    return sample


def graph_network(problem, plain):
    """All outputs and contrast views, forward and backward."""
    model = problem.model
    leaves = model.loop_parameters()

    def run():
        if plain:
            outputs, views = problem.plain_network()
            tables = [outputs['fused'], *(nodes[name] for name in WIDTHS for nodes in (outputs, views))]
        else:
            projected = model.project()
            outputs, views = model.outputs(projected), model.contrast_views(projected)
            pairs = [outputs['fused'], *(nodes[name] for name in WIDTHS for nodes in (outputs, views))]
            tables = [torch.cat(tuple(pair)) for pair in pairs]
        return grads_of(sum((table * table).sum() for table in tables), leaves)

    if plain:
        problem.coo  # noqa: B018 - built before the clock starts
    return run


def nce_users(problem, plain):
    return nce_stage(problem, plain, problem.model.rows.shape[0])


def nce_items(problem, plain):
    return nce_stage(problem, plain, problem.model.rows.shape[1])


def nce_stage(problem, plain, n):
    rows, columns = (torch.randn(n, problem.settings.latdim, generator=problem.seeded()).requires_grad_()
                     for _ in range(2))
    temp, every = problem.settings.temp, torch.arange(n)
    return lambda: grads_of(Plain.nce(rows, columns, temp, every) if plain else nce(rows, columns, temp),
                            [rows, columns])


def nce_torch(problem, plain):
    """As nce_users, but the other form is torch's own: the chunked `linear_cross_entropy` of torch 2.13 and later."""
    n, temp = problem.model.rows.shape[0], problem.settings.temp
    rows, columns = (torch.randn(n, problem.settings.latdim, generator=problem.seeded()).requires_grad_()
                     for _ in range(2))

    def theirs():
        return F.linear_cross_entropy(F.normalize(rows) / temp, F.normalize(columns), torch.arange(n),
                                      options=torch.nn.LinearCrossEntropyOptions())

    return lambda: grads_of(theirs() if plain else nce(rows, columns, temp), [rows, columns])


def nce_itself(problem, plain):
    """The items against themselves, one side without gradient: a zero level."""
    n = problem.model.rows.shape[1]
    rows = torch.randn(n, problem.settings.latdim, generator=problem.seeded()).requires_grad_()
    temp, every = problem.settings.temp, torch.arange(n)
    return lambda: grads_of(Plain.nce(rows, rows.detach(), temp, every) if plain
                            else unit_self_nce(unit_rows(rows), temp), [rows])


def evaluation(problem, plain):
    """Scores, ranking and metrics of validation and test; plain: the ranking and counting user by user."""
    model, k, chunk = problem.model, problem.settings.topk, problem.settings.tstBat
    score = model.scores()
    withheld = {split: UserRows(problem.matrices[split]) for split in ('val', 'test')}
    if not plain:
        return lambda: [torch.as_tensor(list(metrics.means().values())) for metrics in
                        evaluate(score, model.rows, withheld, k, chunk).values()]

    def run():
        results = {split: [] for split in withheld}
        users = torch.arange(model.rows.shape[0])
        for batch in users.split(chunk):
            scores = score(batch)
            scores[model.rows.batch(batch).positions] = -torch.inf
            top = scores.topk(k).indices
            for row, user in enumerate(batch.tolist()):
                ranking = [int(item) for item in top[row]]
                for split in withheld:
                    matrix = problem.matrices[split]
                    relevant = set(matrix.indices[matrix.indptr[user]:matrix.indptr[user + 1]].tolist())
                    if relevant:
                        results[split].append(Plain.ranked_metrics(ranking, relevant, k))
        return [torch.as_tensor(values).mean(0) for values in results.values()]

    return run


def sparse_features(problem, plain):
    """The items' brands times a matrix (BRANDS, d), forward and backward: by each step of most baselines."""
    n_items, d = problem.model.item_embeds.shape
    brands = F.one_hot(torch.randint(BRANDS, (n_items,), generator=problem.seeded()), BRANDS).float()
    weight = torch.randn(BRANDS, d, generator=problem.generator).requires_grad_()
    table = held(brands)

    def run():
        shown = brands @ weight if plain else product(table, weight)
        return grads_of((shown * shown).sum(), [weight])

    return run


def negative_sampling(problem, plain):
    if plain:
        pairs = list(zip(*(ends.tolist() for ends in problem.matrices['train'].nonzero()), strict=True))
        return lambda: [torch.as_tensor(len(Plain.negatives(pairs, problem.model.rows.shape[1],
                                                            np.random.default_rng(0))))]
    sampler = NegativeSampler(problem.model.rows)
    return lambda: [torch.as_tensor(len(sampler.sample(problem.seeded())))]


def training_step(problem, plain, method):
    """Losses of a batch, backward, Adam. The plain form computes both contrasts, as the release does."""
    model, settings = problem.model, parse([*problem.shape.flags.split(), '--cl_method', str(method)])
    model.settings, model.noise_like_items = settings, problem.noise
    parameters = model.loop_parameters()
    optimiser = torch.optim.Adam(parameters, 1e-3, **({'foreach': False} if plain else {'fused': True}))
    users, positives, negatives = problem.triples
    n_users, n_items = model.rows.shape

    def plain_terms():
        outputs, views = problem.plain_network()
        cross = sum(Plain.nce(views['image'][first:][nodes], views['audio'][first:last], settings.temp, nodes)
                    for nodes, first, last in ((users, 0, n_users), (positives, n_users, None)))
        multi = 0
        for name in WIDTHS:
            items = outputs[name][n_users:]
            for rows, columns in ((outputs['fused'][:n_users], outputs[name][:n_users]),
                                  (outputs['fused'][n_users:], items),
                                  *((items, items.detach() + level * problem.noise(name, number))
                                    for number, level in enumerate(noise_levels(settings.steps)))):
                multi = multi + Plain.nce(rows, columns, settings.temp, torch.arange(len(rows)))
        pairs = {name: nodes.split([n_users, n_items]) for name, nodes in outputs.items()}
        return {'bpr': Plain.modal_bpr_loss(pairs, users, positives, negatives, settings.batch),
                'reg': settings.reg * embedding_decay(model.user_embeds, model.item_embeds),
                'cl': settings.ssl_reg * (cross if method == 0 else multi)}

    def step():
        terms = plain_terms() if plain else model.losses(users, positives, negatives)
        optimiser.zero_grad()
        sum(terms.values()).backward()
        gradient = model.item_embeds.grad.clone()
        optimiser.step()
        return [*(term.detach() for term in terms.values()), gradient]

    if plain:
        problem.coo  # noqa: B018 - built before the clock starts
    return step


def training_step_0(problem, plain):
    return training_step(problem, plain, 0)


def training_step_1(problem, plain):
    return training_step(problem, plain, 1)


STAGES = {stage.__name__: stage for stage in (
    fusion, denoiser_step, sampling, graph_network, nce_users, nce_items, nce_itself, evaluation, negative_sampling,
    sparse_features, training_step_0, training_step_1)}
if hasattr(F, 'linear_cross_entropy'):
    STAGES['nce_torch'] = nce_torch


def epoch_counts(shape, settings, method):
    """How often an epoch needs each stage."""
    batches = math.ceil(shape.users / settings.batch) * len(WIDTHS)
    return {'fusion': batches, 'denoiser_step': batches, 'sampling': batches, 'evaluation': 1, 'negative_sampling': 1,
            f'training_step_{method}': math.ceil(shape.interactions[0] / settings.batch)}


def work(stage, shape, settings):
    """(FLOP, bytes) that bound a stage from below, a multiply-add counting as 2 FLOP."""
    rows, d, width, steps = min(settings.batch, shape.users), settings.latdim, settings.dims[0], settings.steps
    hidden, modalities, nodes = settings.guide_fused_hidden_dim, len(WIDTHS), shape.users + shape.items
    cells, n_train, n_eval = rows * shape.items, shape.interactions[0], sum(shape.interactions[1:])
    levels = [level for level in noise_levels(settings.steps) if level]
    # products of the network with half a graph: per output 2 + 2 layers, modal graphs 4 and views 2 layers
    halves = 2 + 2 * (modalities + 1) * (1 + settings.gnn_layer) + 2 * modalities * (2 + settings.gnn_layer)
    network = 0, 2 * halves * 4 * d * (nodes / 2 + n_train)  # forward and backward: rows gathered, rows written
    cross = 6 * rows * d * nodes * modalities * (modalities - 1) // 2
    multi = modalities * d * (6 * shape.users**2 + 6 * shape.items**2
                              + (3 * (len(levels) < 4) + 4 * len(levels)) * shape.items**2)
    return {
        'fusion': (3 * 2 * cells * hidden, 0),
        'denoiser_step': (5 * 2 * cells * width + 2 * 2 * cells * d, 0),  # two layers: forward, weights; last: input
        'sampling': (2 * cells * width + (steps - 1) * 2 * rows * width**2, 0),
        'graph_network': network,
        'nce_users': (6 * shape.users**2 * d, 0),
        'nce_torch': (6 * shape.users**2 * d, 0),
        'nce_items': (6 * shape.items**2 * d, 0),
        'nce_itself': (3 * shape.items**2 * d, 0),  # half of the similarities, both products with them
        'evaluation': (2 * min(n_eval, shape.users) * shape.items * d * (modalities + 1), 0),
        'negative_sampling': (0, n_train * 8 * 4),
        'sparse_features': (0, 2 * 2 * 4 * d * shape.items),  # forward and backward: rows gathered, rows written
        'training_step_0': (cross, network[1]),
        'training_step_1': (multi, network[1])}[stage]


def plain_needs(stage, shape, settings):
    """(bytes, FLOP) of a plain form, roughly: whether it can be run here at all."""
    side, most = min(settings.batch, shape.users) + shape.items, max(shape.users, shape.items)
    similarities = 4 * (shape.users**2 + shape.items**2 * (1 + len(noise_levels(settings.steps))) + shape.items**2)
    multi = 6 * len(WIDTHS) * settings.latdim * (shape.users**2 + 6 * shape.items**2)
    return {'fusion': (5 * 4 * side**2, 4 * side**3), 'nce_users': (4 * 4 * most**2, 0),
            'nce_items': (4 * 4 * shape.items**2, 0), 'nce_itself': (4 * 4 * shape.items**2, 0),
            'training_step_0': (2 * len(WIDTHS) * similarities, 3 * multi),
            'training_step_1': (2.5 * len(WIDTHS) * similarities, 3 * multi)}.get(stage, (0, 0))


