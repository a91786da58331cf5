"""EASE^R: Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019, arXiv 1905.03375."""
import torch

from Baselines.common import Baseline, RowScores, cholesky, memory_for


class EASE(Baseline):
    """Scores R B of the matrix B (I, I) that minimises ||R - R B||^2 + ridge ||B||^2 with a diagonal of zeros:

        P = (R'R + ridge Identity)^-1,  B_ij = -P_ij / P_jj for i other than j

    In float32, by Cholesky: the relative error is about 1e-7 (1 + |R'R|/ridge), |.| the largest eigenvalue, which
    is harmless at the ridges of 3 and more that such data ask for. Memory: three matrices I x I.
    """

    closed_form = True
    flags = frozenset({'ridge'})

    def __init__(self, dataset, settings, generator):
        super().__init__(dataset, settings, generator)
        self.train_matrix = dataset.train
        self.weights = None  # B, made by begin_epoch

    def begin_epoch(self, boundary):
        n_items = self.train_matrix.shape[1]
        needed = 3 * n_items**2 * 4  # bytes
        with memory_for(f'the three matrices of {n_items:,} x {n_items:,} items of ease ({needed / 2**30:,.1f} GiB)',
                        'take fewer items (prepare.py with a larger --kcore), or a model without such matrices, for '
                        'instance itemknn or lightgcn', self.generator.device, needed):
            self.weights = self.solution()
        return {}

    def solution(self):
        """B, of float32 numbers (I, I)."""
        gram = torch.as_tensor((self.train_matrix.T @ self.train_matrix).toarray(), device=self.generator.device)
        gram.diagonal().add_(self.settings.ridge)
        inverse = torch.cholesky_inverse(cholesky(gram, 'ridge'))
        return inverse.div_(-inverse.diagonal()).fill_diagonal_(0)

    def scores(self):
        return RowScores(self.rows, lambda rows: rows.times(self.weights))
