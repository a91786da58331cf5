"""Implicit ALS: Hu, Koren, Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008, in the form
of Rendle, Krichene, Zhang, Koren, "Revisiting the Performance of iALS on Item Recommendation Benchmarks", RecSys 2022,
arXiv 2110.14037."""
import torch
import torch.nn.functional as F

from Baselines.common import Baseline, cholesky, nearly_singular, xavier
from DataHandler import UserRows
from Utils.Errors import InputError
from Utils.Graph import Csr
from Utils.Metrics import DotScores

ENTRIES = {'cpu': 2**14, 'cuda': 2**18}  # rows of vectors, or of normal equations, held at a time


class IALS(Baseline):
    """Alternating least squares for user and item embeddings w_u, h_i: each epoch is one sweep, users then items, of

        L = sum_(u,i in R) (<w_u, h_i> - 1)^2 + alpha sum_(all u,i) <w_u, h_i>^2
            + reg (sum_u (n_u + alpha I) ||w_u||^2 + sum_i (n_i + alpha U) ||h_i||^2)

    with n_u, n_i the numbers of training interactions (the second paper's exponent nu is 1). Embeddings begin Xavier
    uniform, not normal as the papers have it. `begin_epoch` returns L, which a sweep never raises. Decayed is every
    embedding, the more the more interactions it has.
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
        interactions = Csr(self.rows.starts, self.rows.items, torch.ones_like(self.rows.items), self.rows.shape)
        errors = (interactions.products(users, items) - 1).square().sum()
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
    With the eigenvectors of alpha sum_j f_j f_j' as axes, all that rows of the same length do not share is
        (S + K'K) w = K'1,  S diagonal, K (n_r, d) the vectors of the row's interactions
    which a row of fewer than d interactions solves by the Woodbury identity with a matrix n_r x n_r,
        w = S^-1 K' (Identity + K S^-1 K')^-1 1
    In float64: the equations have the square of the vectors' condition number.
    """
    vectors = fixed.double()
    squares, axes = torch.linalg.eigh(alpha * vectors.T @ vectors)
    turned = vectors @ axes
    solved = torch.zeros(len(rows.counts), len(axes), dtype=vectors.dtype, device=vectors.device)
    lengths, order = rows.counts.sort(stable=True)
    groups = order.split(lengths.unique_consecutive(return_counts=True)[1].tolist())
    for group in groups:
        length = int(rows.counts[group[0]])
        if not length:
            continue
        diagonal = squares.clamp(min=0) + reg * (length + alpha * len(fixed))
        if diagonal.min() < diagonal.max() * torch.finfo(diagonal.dtype).eps:
            raise nearly_singular('reg')
        solve = by_own_equations if length < len(axes) else by_normal_equations
        for some in group.split(max(1, ENTRIES[fixed.device.type] // max(length, len(axes) * (length >= len(axes))))):
            places = rows.starts[some, None] + torch.arange(length, device=fixed.device)
            solved[some] = solve(F.embedding(rows.items[places], turned), diagonal)
    return solved @ axes.T


def by_own_equations(known, diagonal):
    """w (B, d) of the vectors (B, n, d) of rows with n interactions, by matrices (B, n, n)."""
    scale = diagonal.rsqrt()
    known = known * scale
    equations = known @ known.mT
    equations.diagonal(dim1=1, dim2=2).add_(1)  # so that none of its eigenvalues is below 1
    ones = known.new_ones(*known.shape[:2], 1)
    answers = torch.cholesky_solve(ones, torch.linalg.cholesky(equations))
    return (known.mT @ answers)[:, :, 0] * scale


def by_normal_equations(known, diagonal):
    """The same by matrices (B, d, d)."""
    equations = known.mT @ known
    equations.diagonal(dim1=1, dim2=2).add_(diagonal)
    return torch.cholesky_solve(known.sum(1)[:, :, None], cholesky(equations, 'reg'))[:, :, 0]
