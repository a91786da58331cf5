"""Ranking by popularity: the bar that every other model has to clear."""
import torch

from Baselines.common import Baseline
from Utils.Metrics import DotScores


def popularity_scores(rows):
    """The score function that gives each item its number of training interactions. rows: UserRows (U, I)."""
    n_users, n_items = rows.shape
    counts = torch.bincount(rows.items, minlength=n_items).float()
    return DotScores({'popularity': (torch.ones_like(counts[:1]).expand(n_users, 1), counts[:, None])})


class Popularity(Baseline):
    """Every user's scores are the items' numbers of training interactions."""

    closed_form = True

    def scores(self):
        return popularity_scores(self.rows)
