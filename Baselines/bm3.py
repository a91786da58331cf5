"""BM3: Zhou, Zhou, Liu, Zeng, Miao, Wang, You, Jiang, "Bootstrap Latent Representations for Multi-modal
Recommendation", WWW 2023, arXiv 2207.05969."""
import torch
import torch.nn.functional as F

from Baselines.common import dropped_out
from Baselines.features import Projections, feature_tables
from Baselines.lightgcn import LightGCN
from Utils.Layers import Linear
from Utils.Metrics import DotScores
from Utils.Ranking import RANKED
from Utils.Ranks import own_rows
from Utils.Utils import rows_of


def away(online, target):
    """1 - mean cosine of the rows (B, d) of two views."""
    n, (online, target) = len(online), own_rows(online, target)
    return len(online) / n - F.cosine_similarity(online, target).sum() / n


class BM3(LightGCN):
    """Interacting pairs and their features are drawn together, without negatives.

    h_u, h_i: LightGCN's means of layers, h_i with e_i added once more. F_m: the linear projection of the features. One
    linear predictor P makes the online view h~ = P h of each; its target h. = dropout(h), without gradient, comes from
    the same h. With C the mean cosine over the batch's pairs (u, i):
        rec   = (1 - C(h~_u, h._i)) + (1 - C(h~_i, h._u))
        align = sum_m 1 - C(F~_m,i, h._i)
        mask  = sum_m 1 - C(F~_m,i, F._m,i)
        reg   = reg * mean of (||h~_u||^2 + ||h~_i||^2)/2
    The loss is rec + ssl_reg (align + mask) + reg, with ssl_reg 1 in the paper; the scores are <h~_u, h~_i>. Decayed
    are the batch's rows of what is scored, P in it; the paper decays h, which leaves P free. No other term depends on
    their length.
    """

    needs_features = True
    flags = LightGCN.flags - RANKED | {'ssl_reg', 'embed_drop'}

    def __init__(self, dataset, settings, generator):
        super().__init__(dataset, settings, generator)
        tables = feature_tables(dataset, type(self).__name__, generator.device)
        self.projections = Projections(tables, settings.latdim, generator)
        self.predictor = Linear(settings.latdim, settings.latdim, generator)

    def outputs(self):
        users, items = super().outputs()
        return users, items + self.item_embeds

    def target(self, view):
        return dropped_out(view.detach(), self.settings.embed_drop, self.generator)

    def losses(self, users, positives, negatives):
        settings, predictor = self.settings, self.predictor
        user_table, item_table = self.outputs()
        users, items = rows_of(user_table, users), rows_of(item_table, positives)
        features = self.projections(positives)
        item_target = self.target(items)
        online = predictor(users), predictor(items)
        rec = away(online[0], item_target) + away(online[1], self.target(users))
        align = sum(away(predictor(table), item_target) for table in features.values())
        mask = sum(away(predictor(table), self.target(table)) for table in features.values())
        decay = sum(own_rows(table).square().sum() for table in online) / (2 * len(users))
        return {'rec': rec, 'align': settings.ssl_reg * align, 'mask': settings.ssl_reg * mask,
                'reg': settings.reg * decay}

    @torch.no_grad()
    def scores(self):
        return DotScores({'final': tuple(map(self.predictor, self.outputs()))})
