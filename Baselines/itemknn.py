"""Item neighbourhoods: Deshpande, Karypis, "Item-based top-N recommendation algorithms", ACM TOIS 22(1), 2004."""
import torch

from Baselines.common import Baseline, RowScores, memory_for
from Utils.Errors import require_at_most

BLOCK = 1024  # items whose similarities to all are held at a time


class ItemKNN(Baseline):
    """Cosine of the items' columns of R, shrunk: s_ij = n_ij / (sqrt(n_i n_j) + shrink), n_ij the users of both.

    Each item i keeps its `neighbours` largest s_ij, j other than i; a user's score of j is the sum of s_ij over the
    items i of her training row that have kept j. The shrinkage is not the paper's.
    """

    closed_form = True
    flags = frozenset({'neighbours', 'shrink'})

    def __init__(self, dataset, settings, generator):
        super().__init__(dataset, settings, generator)
        require_at_most('neighbours', settings.neighbours, dataset.n_items - 1,
                        f'{dataset.n_items} items of {dataset.name}')
        self.train_matrix = dataset.train
        self.similarities = self.neighbours = None  # (I, neighbours), made by begin_epoch

    def begin_epoch(self, boundary):
        with memory_for(f'the similarities of {BLOCK} items to all, or the {self.settings.neighbours} largest of each',
                        'lower --neighbours, or take fewer items (prepare.py with a larger --kcore)',
                        self.generator.device):
            self.similarities, self.neighbours = self.nearest()
        return {}

    def nearest(self):
        """The largest similarities of each item, and the items that they are to: two tables (I, neighbours)."""
        device = self.generator.device
        columns = self.train_matrix.T.tocsr()
        lengths = torch.as_tensor(columns.getnnz(axis=1), device=device).float().sqrt()
        best = []
        for start in range(0, len(lengths), BLOCK):
            together = columns[start:start + BLOCK] @ self.train_matrix
            together = torch.as_tensor(together.toarray(), device=device)
            shrunk = torch.outer(lengths[start:start + BLOCK], lengths) + self.settings.shrink
            similarities = together.div_(shrunk).nan_to_num_(0)  # nan: two items without users, no shrinkage
            similarities.diagonal(start).fill_(-1)
            best.append(similarities.topk(self.settings.neighbours, dim=1))
        return tuple(torch.cat(parts) for parts in zip(*best, strict=True))

    def scores(self):
        return RowScores(self.rows, self.score_rows)

    def score_rows(self, rows):
        """A RowBatch (B, I) -> scores (B, I)."""
        scores = self.similarities.new_zeros(rows.shape)
        return scores.index_put_((rows.rows[:, None], self.neighbours[rows.items]), self.similarities[rows.items],
                                 accumulate=True)
