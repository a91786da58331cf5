"""Whether two models differ: paired tests over the same users, corrected for how many are made.

Everything takes one number per user and model (per_user.npz), the mean over a model's seeds.
"""
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import wilcoxon

from Utils.Errors import InputError

RESAMPLES = 50_000  # so that p of a hundred comparisons can be below 0.01
BLOCK = 100  # resamples drawn at a time


@dataclass(frozen=True)
class Comparison:
    """Of a model with another one over the same users."""

    difference: float  # mean of the first minus the second
    low: float  # bounds of the bootstrap's confidence interval of the difference
    high: float
    p_bootstrap: float  # two-sided
    p_wilcoxon: float


def per_user(runs, chosen_by='val', metric='recall'):
    """(users, mean over the runs of each one's test metric) at the epochs that the split `chosen_by` chose."""
    users, values = None, []
    for run in runs:
        path = Path(run) / 'per_user.npz'
        if not path.is_file():
            raise InputError(f'{path} is not there: it is written at the end of a run. Run it again.')
        with open(path, 'rb') as file, np.load(file, allow_pickle=False) as arrays:
            if users is not None and not np.array_equal(users, arrays['users']):
                raise InputError(f'{path} is of other users than the runs it is taken together with: runs on one data '
                                 'set were expected.')
            users = arrays['users']
            values.append(arrays[f'best_{chosen_by}_{metric}'])
    return users, np.mean(values, 0)


def compare(first, second, rng, confidence=0.95):
    """Two vectors over the same users -> Comparison.

    The bootstrap draws users with replacement. Its p is twice the smaller share of resampled means on either side of 0,
    and no less than 2 / RESAMPLES.
    Wilcoxon's signed-rank test leaves out users without a difference; where no user differs, both p are 1.
    """
    # 1 - 2/3 and 1/3 differ in their last bits: ranks are to take them for the tie that they are
    difference = np.round(np.asarray(first, np.float64) - np.asarray(second, np.float64), 12)
    n = len(difference)
    values, counts = np.unique(difference, return_counts=True)  # few: to draw how often each comes is to draw the users
    means = np.concatenate([rng.multinomial(n, counts / n, BLOCK) @ values / n for _ in range(RESAMPLES // BLOCK)])
    low, high = np.quantile(means, ((1 - confidence) / 2, (1 + confidence) / 2))
    smaller = min((means <= 0).mean(), (means >= 0).mean())
    p_wilcoxon = wilcoxon(difference, zero_method='wilcox').pvalue if difference.any() else 1.0
    return Comparison(float(difference.mean()), float(low), float(high), float(min(1, 2 * max(smaller, 1 / RESAMPLES))),
                      float(p_wilcoxon))


def holm(p_values):
    """Holm's correction: the p-values to hold against the level, in the given order."""
    p_values = np.asarray(p_values, np.float64)
    order = np.argsort(p_values)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(1, np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1)))
    return corrected.tolist()
