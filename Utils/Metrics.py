"""Full ranking and its metrics (SPEC section 7), vectorised on the device of the scores."""
from dataclasses import dataclass

import numpy as np
import torch

from Utils.Device import release_freed_memory
from Utils.Ranks import gathered, own_rows

NAMES = ('recall', 'ndcg', 'precision')


@dataclass(frozen=True)
class UserMetrics:
    """Metrics of each user with a withheld item, by user id (all vectors of the same length)."""

    users: np.ndarray
    recall: np.ndarray
    ndcg: np.ndarray
    precision: np.ndarray

    def state(self):
        """As tensors, for a checkpoint."""
        return {name: torch.as_tensor(vector) for name, vector in vars(self).items()}

    @classmethod
    def from_state(cls, state):
        return cls(**{name: vector.numpy() for name, vector in state.items()})

    def means(self):
        """The mean over users of each metric; NaN where no user has a withheld item."""
        return {name: float(getattr(self, name).mean()) if len(self.users) else float('nan') for name in NAMES}


class DotScores:
    """Scores of users (B,) against all items: the sum of the outputs' inner products (section 5)."""

    def __init__(self, outputs):
        self.names = list(outputs)
        self.users = torch.cat([users for users, _ in outputs.values()], 1)
        self.items = torch.cat([items for _, items in outputs.values()], 1)

    def __call__(self, users):
        return self.users[users] @ self.items.T

    def arrays(self):
        """The embeddings behind the scores, by name, as NumPy arrays."""
        return {f'{name}_{side}': part.cpu().numpy() for side, table in (('users', self.users), ('items', self.items))
                for name, part in zip(self.names, table.chunk(len(self.names), 1), strict=True)}


def rank_items(scores, exclude, k):
    """The k best items of each row of `scores` (B, I), best first: (B, k).

    exclude: (rows, items), the entries that are not to be ranked; `scores` is overwritten there. Where a row
    has fewer than k items left, its list ends in -1.
    """
    scores[exclude] = -torch.inf
    best, items = scores.topk(k, dim=1)
    return items.masked_fill(best == -torch.inf, -1)


def list_metrics(hits, n_relevant):
    """Recall, NDCG and precision of ranked lists (float64 vectors).

    hits: (B, k) true where the item at that rank is relevant; n_relevant: (B,) how many relevant items there
    are, each at least 1. Recall = hits/|relevant|; NDCG = sum over hits of 1/log2(rank + 2), rank from 0, over
    the same sum for min(|relevant|, k) leading hits; Precision = hits/k.
    """
    k = hits.shape[1]
    hits = hits.double()
    discounts = 1 / torch.arange(2, k + 2, dtype=torch.float64, device=hits.device).log2()
    ideal = discounts.cumsum(0)[n_relevant.clamp(max=k) - 1]
    found = hits.sum(1)
    return found / n_relevant, hits @ discounts / ideal, found / k


@torch.no_grad()
def evaluate(score, train, splits, k, chunk):
    """Rank all items for every user with a withheld item, training items left out; metrics of each split.

    score: users (B,) -> scores (B, I); train: UserRows; splits: name -> UserRows; chunk: users at a time.
    Returns name -> UserMetrics. Where several processes share a run, each ranks for its share of the users.
    """
    withheld = sum(rows.counts for rows in splits.values())
    everyone = withheld.nonzero().squeeze(1)
    hits = {name: [] for name in splits}
    for number, users in enumerate(own_rows(everyone).split(chunk)):
        if number % 16 == 0:
            release_freed_memory(everyone.device, len(everyone) * train.shape[1])
        top = rank_items(score(users), train.batch(users).positions, k)
        for name, rows in splits.items():
            hits[name].append(rows.hold(users, top) & (top >= 0))
    results = {}
    for name, rows in splits.items():
        counts = rows.counts[everyone]
        chosen = counts > 0
        lists = torch.cat([*hits[name], torch.zeros(0, k, dtype=torch.bool, device=everyone.device)])
        lists = gathered(lists, len(everyone))
        metrics = list_metrics(lists[chosen], counts[chosen])
        results[name] = UserMetrics(*(vector.cpu().numpy() for vector in (everyone[chosen], *metrics)))
    return results
