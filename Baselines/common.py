"""What the baselines share: the training loop's defaults (see Main.py), embeddings with the BPR loss, propagation.

Where several processes share a run, losses are this process's part of them (Utils/Ranks.py).

Shapes: U users, I items, B triples in a batch, d = latdim.
"""
from contextlib import contextmanager

import torch
from torch import nn

from DataHandler import UserRows
from Params import TRAINED
from Utils.Device import free_memory
from Utils.Errors import InputError, is_out_of_memory
from Utils.Layers import Linear
from Utils.Metrics import DotScores
from Utils.Ranking import RANKED, Ranking
from Utils.Ranks import own_rows
from Utils.Utils import rows_of


class Baseline(nn.Module):
    """What the training loop asks of a model, where there is one answer for most. A model adds `losses` and `scores`.

    All that a later step depends on is in `state_dict()`. `flags` names the flags of Params.py that the model reads: of
    its base class, `| {...}` for its own.
    """

    closed_form = needs_features = False
    flags = frozenset()

    def __init__(self, dataset, settings, generator):
        super().__init__()
        self.settings, self.generator = settings, generator
        self.rows = UserRows(dataset.train, generator.device)

    def loop_parameters(self):
        return self.parameters()

    def begin_epoch(self, boundary):
        return {}


class EmbeddingModel(Baseline):
    """A model that scores by inner products <user, item> of its outputs, tables (U, n) and (I, n) that it makes of
    trainable embeddings (U, d) and (I, d), Xavier uniform. It is trained by the loss that --loss names, BPR unless
    that says otherwise; one with a loss of its own takes RANKED out of its flags."""

    flags = TRAINED | RANKED | {'latdim', 'reg'}

    def __init__(self, dataset, settings, generator):
        super().__init__(dataset, settings, generator)
        self.user_embeds, self.item_embeds = (xavier((size, settings.latdim), generator)
                                              for size in dataset.train.shape)
        self.ranking = Ranking(settings, self.rows) if 'loss' in self.flags else None

    def outputs(self):
        """The tables of users and items whose inner products are the scores."""
        return self.user_embeds, self.item_embeds

    def losses(self, users, positives, negatives):
        return self.triple_losses(self.outputs(), users, positives, negatives)

    def triple_losses(self, outputs, users, positives, negatives, decayed=None):
        """`row_losses` of the batch's rows of the outputs; decayed: the tables whose rows are, by default the
        embeddings before any propagation."""
        def rows(user_table, item_table):
            return rows_of(user_table, users), rows_of(item_table, positives), rows_of(item_table, negatives)

        return self.row_losses(rows(*outputs), rows(*decayed or (self.user_embeds, self.item_embeds)), positives,
                               lambda: outputs[1])

    def row_losses(self, rows, decayed, positives, items):
        """The loss of most models with embeddings, over the batch's triples (u, p, n), of three tables (B, .) each:

            bpr = mean of -log sigmoid(<u, p> - <u, n>) of the rows, or in its place `softmax` (see `Ranking`)
            reg = reg * mean of (||u||^2 + ||p||^2 + ||n||^2)/2 of those that are decayed

        items: a function that gives the outputs of all items, for --loss softmax.

        A decay of embeddings alone says little where matrices come between them and the scores: what it takes from the
        embeddings, matrices that are not decayed give back.
        """
        decay = sum(own_rows(table).square().sum() for table in decayed) / 2
        return {self.ranking.name: self.ranking(rows, positives, items) / len(positives),
                'reg': self.settings.reg * decay / len(positives)}

    @torch.no_grad()
    def scores(self):
        outputs = self.outputs()
        return DotScores({'final': self.ranking.scored(outputs) if self.ranking else outputs})


class RowScores:
    """Scores that a function makes of the users' training rows: RowBatch (B, I) -> (B, I). There is nothing to save."""

    def __init__(self, rows, score_rows):
        self.rows, self.score_rows = rows, score_rows

    def __call__(self, users):
        return self.score_rows(self.rows.batch(users))

    def arrays(self):
        return {}


@contextmanager
def memory_for(what, advice, device, needed=0):
    """InputError, with advice of its own, where memory runs out inside, or where the bytes needed are not to be had in
    the first place: a system that promises more memory than there is ends the process without a word.

    what: what the memory is for; advice: what makes that smaller.
    """
    sentence = f'There is not enough memory for {what}: {advice}.'
    free = free_memory(device) if needed else None
    if free is not None and free < needed:
        raise InputError(sentence)
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(sentence) from error


def cholesky(matrix, flag):
    """The Cholesky factor of a matrix that the flag keeps away from singular ones."""
    try:
        return torch.linalg.cholesky(matrix)
    except torch.linalg.LinAlgError as error:
        raise nearly_singular(flag) from error


def nearly_singular(flag):
    return InputError(f'--{flag} is so small that the equations have no solution in floating point: raise it.')


def xavier(shape, generator):
    """A trainable matrix, Xavier uniform."""
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(shape, device=generator.device), generator=generator))


def xavier_linear(n_in, n_out, generator, shifted=True):
    """A linear layer, Xavier uniform, with a shift of zeros to begin with or without any."""
    layer = Linear(n_in, n_out, generator)
    nn.init.xavier_uniform_(layer.weight, generator=generator)
    layer.bias = nn.Parameter(torch.zeros_like(layer.bias)) if shifted else None
    return layer


def all_decay(model):
    """Half the squares of all parameters: what Adam's `weight_decay` of 1 takes the gradient of."""
    return sum(own_rows(parameter).square().sum() for parameter in model.parameters()) / 2


def dropped_out(table, rate, generator):
    """Dropout: entries set to zero with probability `rate`, the others divided by 1 - rate."""
    if rate == 0:
        return table
    kept = torch.rand(table.shape, generator=generator, device=table.device) >= rate
    return table * kept / (1 - rate)


def propagated(graph, users, items, n_layers):
    """[(users, items) after l products with the graph, l = 0..n_layers]."""
    layers = [(users, items)]
    for _ in range(n_layers):
        layers.append(graph(*layers[-1]))
    return layers


def mean_of_layers(layers):
    """The mean of the users' tables and that of the items'."""
    return tuple(sum(tables) / len(layers) for tables in zip(*layers, strict=True))


def contrast_nodes(users, positives, n, generator):
    """The batch's users and positive items that a contrast takes its means over: with --cl_sample n of them, drawn
    anew without replacement, else all."""
    if n is None or n >= len(users):
        return users, positives
    some = torch.randperm(len(users), generator=generator, device=users.device)[:n]
    return users[some], positives[some]
