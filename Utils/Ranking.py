"""The losses by which models learn to rank (--loss), of tables of users (U, n) and items (I, n).

Shapes: B triples (u, p, n) in a batch. Where several processes share a run, what is returned is this one's part.
"""
import torch

from Utils.Layers import unit_rows
from Utils.NCE import unit_nce
from Utils.Ranks import own_rows
from Utils.Utils import bpr_loss

RANKED = frozenset({'loss', 'loss_temp', 'loss_pop'})  # the flags that `Ranking` reads
LEAST = -80.0  # logarithm of a weight that stands for 0: exp of it is still a number in float32


class Ranking:
    """The loss that --loss names, summed over a batch, and the scores that go with it.

    bpr      -log sigmoid(<u, p> - <u, n>) (Rendle et al., UAI 2009); scores <u, i>
    softmax  -s_up + log sum_j a_j exp(s_uj), over all items j, s = cosine/loss_temp (Wu, Wang, Gao, Chen, Fu, Qiu,
             "On the Effectiveness of Sampled Softmax Loss for Item Recommendation", TOIS 2024, arXiv 2201.02327, there
             over a sample); scores cosine(u, i)

    a_j = n_j^loss_pop / mean over items of that, n_j the training interactions of j: as if negatives were drawn with
    chances in proportion to n_j^loss_pop. 0: all items alike; 1: as if they were the batch's other positives; in
    between, Mikolov et al., NeurIPS 2013. With 0 nothing is drawn by popularity, so that there is nothing to correct,
    as there is for sampled negatives (Yi et al., RecSys 2019). Above 0 an item without training interactions is no
    negative. The gradient at a negative is in proportion to a_j exp(s_uj): the lower the temperature, the more the hard
    ones count. Cosines do not change with the length of a row, so that no decay of lengths holds them in check; what
    does is the temperature.
    """

    def __init__(self, settings, rows):
        """settings: with RANKED; rows: UserRows of the training interactions."""
        self.name = settings.loss
        self.cosines = settings.loss == 'softmax'
        self.temp = settings.loss_temp
        self.log_weights = log_weights(rows, settings.loss_pop) if self.cosines and settings.loss_pop else None

    def __call__(self, rows, positives, items):
        """rows: the batch's rows (B, n) of users, positive and negative items; positives (B,): which items those are;
        items: a function that gives the table of all of them (I, n), which softmax alone asks for."""
        if self.cosines:
            return len(positives) * softmax_loss(rows[0], items(), positives, self.temp, self.log_weights)
        return bpr_loss(*rows)

    def scored(self, outputs):
        """(users, items) whose inner products are the scores, of those that are ranked."""
        return tuple(map(unit_rows, outputs)) if self.cosines else outputs


def log_weights(rows, power):
    """log a_j (I,) as `Ranking` has it, at least LEAST."""
    counts = torch.bincount(rows.items, minlength=rows.shape[1]).double()
    weights = counts.pow(power)
    return (weights / weights.mean()).log().clamp(min=LEAST).to(torch.float32)


def softmax_loss(users, items, positives, temp, log_a=None):
    """mean over the batch of -s_bp + log sum_j a_j exp(s_bj), s = cosine/temp of users (B, n) and items (I, n).

    positives (B,): the item p of each row. The weights are a column more of both: <[u, 1], [i, temp log a]>.
    """
    users, items = unit_rows(users), unit_rows(items)
    if log_a is None:
        return unit_nce(users, items, temp, positives)
    loss = unit_nce(torch.cat([users, torch.ones_like(users[:, :1])], 1),
                    torch.cat([items, temp * log_a[:, None].to(items.dtype)], 1), temp, positives)
    return loss + own_rows(log_a[positives]).sum() / len(positives)  # which stood in the positives' products, too
