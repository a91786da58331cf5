"""CLCRec: Wei, Wang, Li, Nie, Li, Li, Chua, "Contrastive Learning for Cold-start Recommendation", ACM MM 2021,
arXiv 2107.05315."""
import torch
import torch.nn.functional as F
from torch import nn

from Baselines.common import EmbeddingModel, xavier_linear
from Baselines.features import feature_tables, held, through
from Utils.Layers import unit_rows
from Utils.Ranking import RANKED
from Utils.Ranks import own_rows
from Utils.Utils import rows_of

HIDDEN = 256  # width of the encoder's middle
HYBRID = 0.5  # chance that an item shows its encoding in place of its id


class CLCRec(EmbeddingModel):
    """Matrix factorisation trained by contrasts, with an encoder of the features that stands in for an item's id.

    phi(X) = f([X_1, .., X_M] A_1 + a_1) A_2 + a_2, f LeakyReLU, 256 wide in the middle, and z_j = phi_j with
    probability 1/2, else e_j. For the batch's pairs (u, p), j over p and over the negatives that are no item of u:
        ui  = mean of -log  exp(<e_u, z_p>/temp) / sum_j exp(<e_u, z_j>/temp)
        re  = ssl_reg * mean of -log  exp(<norm e_p, norm phi_p>/temp) / sum_j exp(<norm e_p, norm phi_j>/temp)
        reg = reg * mean of (||e_u||^2 + ||e_p||^2 + ||phi_p||^2)/2
    The negatives are `cl_sample` items drawn anew each step among those with training interactions, the same for the
    whole batch, by default all of them; the paper draws for every pair. Its lambda is ssl_reg/(1 + ssl_reg) here.
    Scored are <e_u, e_i>, or <e_u, phi_i> where item i has no training interaction.
    Decayed are the batch's embeddings and encodings, what enters the products, so that the encoder's matrices cannot
    undo it; the authors' program takes lengths of embeddings in place of squares.
    """

    needs_features = True
    flags = EmbeddingModel.flags - RANKED | {'ssl_reg', 'temp', 'cl_sample'}

    def __init__(self, dataset, settings, generator):
        super().__init__(dataset, settings, generator)
        tables = feature_tables(dataset, type(self).__name__, generator.device)
        features = torch.cat([*tables.values()], 1)
        self.features = held(features)
        self.encoder = nn.Sequential(xavier_linear(features.shape[1], HIDDEN, generator), nn.LeakyReLU(),
                                     xavier_linear(HIDDEN, settings.latdim, generator))
        self.warm = torch.bincount(self.rows.items, minlength=dataset.n_items) > 0

    def encoded(self, items=None):
        """phi (I, d) of all items, or of the given ones (B,)."""
        return self.encoder[1:](through(self.encoder[0], self.features, items))

    def outputs(self):
        return self.user_embeds, torch.where(self.warm[:, None], self.item_embeds, self.encoded())

    def drawn(self):
        """The negatives (K,) of a step."""
        items, n = self.warm.nonzero()[:, 0], self.settings.cl_sample
        if n is None or n >= len(items):
            return items
        return items[torch.randperm(len(items), generator=self.generator, device=items.device)[:n]]

    def hybrid(self, items, encoded):
        """z of items (n,), of their encodings (n, d)."""
        shown = torch.rand(len(items), 1, generator=self.generator, device=items.device) < HYBRID
        return torch.where(shown, encoded, rows_of(self.item_embeds, items))

    def losses(self, users, positives, negatives):
        settings, others = self.settings, self.drawn()
        encoded = self.encoded(torch.cat([positives, others]))
        known, strange = encoded.split([len(users), len(others)])
        taken = self.taken(own_rows(users), others)

        def contrast(rows, own, columns):
            rows, own = own_rows(rows, own)
            products = (rows @ columns.T).masked_fill(taken, -torch.inf)
            products = torch.cat([(rows * own).sum(1, keepdim=True), products], 1) / settings.temp
            return F.cross_entropy(products, users.new_zeros(len(rows)), reduction='sum') / len(users)

        user_rows, item_rows = rows_of(self.user_embeds, users), rows_of(self.item_embeds, positives)
        ui = contrast(user_rows, self.hybrid(positives, known), self.hybrid(others, strange))
        re = contrast(*map(unit_rows, (item_rows, known, strange)))
        decay = sum(own_rows(table).square().sum() for table in (user_rows, item_rows, known)) / 2
        return {'ui': ui, 're': settings.ssl_reg * re, 'reg': settings.reg * decay / len(users)}

    def taken(self, users, items):
        """Whether each user (B,) has a training interaction with each item (K,): true or false (B, K)."""
        some, place = users.unique(return_inverse=True)
        column = torch.full_like(self.warm, -1, dtype=torch.int64)
        column[items] = torch.arange(len(items), device=items.device)
        rows = self.rows.batch(some)
        at = column[rows.items]
        table = torch.zeros(len(some), len(items), dtype=torch.bool, device=items.device)
        table[rows.rows[at >= 0], at[at >= 0]] = True
        return table[place]
