"""Implicit ALS: Hu, Koren, Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008, in the form
of Rendle, Krichene, Zhang, Koren, "Revisiting the Performance of iALS on Item Recommendation Benchmarks", RecSys 2022,
arXiv 2110.14037."""
import torch

from Baselines.common import Baseline, cholesky, xavier
from DataHandler import UserRows
from Utils.Errors import InputError
from Utils.Metrics import DotScores

ENTRIES = {'cpu': 2**14, 'cuda': 2**18}  # rows of vectors, or of normal equations, held at a time


class IALS(Baseline):
    """Alternating least squares for user and item embeddings w_u, h_i: each epoch is one sweep, users then items, of

        L = sum_(u,i in R) (<w_u, h_i> - 1)^2 + alpha sum_(all u,i) <w_u, h_i>^2
            + reg (sum_u (n_u + alpha I) ||w_u||^2 + sum_i (n_i + alpha U) ||h_i||^2)

    with n_u, n_i the numbers of training interactions (the second paper's exponent nu is 1). Embeddings begin Xavier
    uniform, not normal as the papers have it. `begin_epoch` returns L, which a sweep never raises.
    """

    flags = frozenset({'latdim', 'alpha', 'reg'})

    def __init__(self, dataset, settings, generator):
        super().__init__(dataset, settings, generator)
        if settings.reg == 0:
            raise InputError('--reg 0 leaves ials with equations that may have no single solution: give it more.')
        self.item_rows = UserRows(dataset.train.T.tocsr(), generator.device)
        self.user_embeds, self.item_embeds = (xavier((size, settings.latdim), generator).requires_grad_(False)
                                              for size in dataset.train.shape)

    def loop_parameters(self):
        return []

    @torch.no_grad()
    def begin_epoch(self, boundary):
        alpha, reg = self.settings.alpha, self.settings.reg
        self.user_embeds.copy_(least_squares(self.rows, self.item_embeds, alpha, reg))
        self.item_embeds.copy_(least_squares(self.item_rows, self.user_embeds, alpha, reg))
        return {'objective': self.objective()}

    def objective(self):
        users, items = self.user_embeds.double(), self.item_embeds.double()
        alpha, reg = self.settings.alpha, self.settings.reg
        errors = ((users[self.rows.users] * items[self.rows.items]).sum(1) - 1).square().sum()
        everywhere = ((users.T @ users) * (items.T @ items)).sum()
        decay = sum(ridges(rows, len(fixed), alpha, reg) @ solved.square().sum(1)
                    for rows, fixed, solved in ((self.rows, items, users), (self.item_rows, users, items)))
        return float(errors + alpha * everywhere + decay)

    def scores(self):
        return DotScores({'final': (self.user_embeds, self.item_embeds)})


def ridges(rows, n_fixed, alpha, reg):
    """reg (n + alpha n_fixed) of each row, n its number of interactions (float64)."""
    return reg * (rows.counts + alpha * n_fixed).double()


def least_squares(rows, fixed, alpha, reg):
    """For each row r of interactions the w that minimises

        sum_(j in r) (<w, f_j> - 1)^2 + alpha sum_(all j) <w, f_j>^2 + reg (n_r + alpha N) ||w||^2

    f_j the rows of fixed (N, d), n_r the number of interactions. Returns the w of all rows.
    The second sum's part of the normal equations is one matrix for all rows, the Gramian. In float64: the equations
    have the square of the vectors' condition number. Rows of like length are solved together.
    """
    vectors = torch.cat([fixed, fixed.new_zeros(1, fixed.shape[1])]).double()  # the last fills up the shorter rows
    gramian = alpha * vectors.T @ vectors
    ridge = ridges(rows, len(fixed), alpha, reg)
    solved = vectors.new_empty(len(rows.counts), fixed.shape[1])
    lengths, order = rows.counts.sort(descending=True, stable=True)
    start, held = 0, ENTRIES[fixed.device.type]
    while start < len(order):
        longest = int(lengths[start])
        batch = order[start:start + max(1, held // max(longest, len(gramian)))]
        entries = rows.batch(batch)
        places = torch.arange(len(entries.rows), device=fixed.device) - (
            entries.counts.cumsum(0) - entries.counts)[entries.rows]
        index = entries.items.new_full((len(batch), longest), len(fixed))
        index[entries.rows, places] = entries.items
        known = vectors[index]  # (B, longest, d)
        equations = torch.baddbmm(gramian.expand(len(batch), -1, -1), known.mT, known)
        equations.diagonal(dim1=1, dim2=2).add_(ridge[batch, None])
        solved[batch] = torch.cholesky_solve(known.sum(1)[:, :, None], cholesky(equations, 'reg'))[:, :, 0]
        start += len(batch)
    return solved
