"""VBPR: He, McAuley, "VBPR: Visual Bayesian Personalized Ranking from Implicit Feedback", AAAI 2016,
arXiv 1510.01784."""
import torch
from torch import nn

from Baselines.common import EmbeddingModel, xavier
from Baselines.features import feature_tables, held, product
from Utils.Utils import rows_of


class VBPR(EmbeddingModel):
    """Matrix factorisation in which each user has a taste for what features show, too:

        x_ui = b_i + <gamma_u, gamma_i> + <theta_u, E' f_i> + <beta, f_i>

    with f_i (D,) the features of all modalities joined, E (D, d), beta (D,), and gamma, theta (d,). What depends on
    the user alone (the paper's alpha and b_u) ranks nothing and is left out. As a product of tables, the user's
    row is [gamma_u, theta_u, 1] and the item's [gamma_i, f_i [E, beta] + [0, b_i]]. Decayed are these rows of the
    batch, where the paper decays the parameters and leaves out E (lambda_E = 0): E then grows as theta shrinks.
    """

    needs_features = True

    def __init__(self, dataset, settings, generator):
        super().__init__(dataset, settings, generator)
        tables = feature_tables(dataset, type(self).__name__, generator.device)
        features = torch.cat([*tables.values()], 1)
        self.features = held(features)
        self.user_embeds = xavier((dataset.n_users, 2 * settings.latdim), generator)  # [gamma_u, theta_u]
        self.item_bias = nn.Parameter(torch.zeros(dataset.n_items, 1, device=generator.device))
        self.projection = xavier((features.shape[1], settings.latdim + 1), generator)  # [E, beta]

    def user_rows(self, users):
        own = rows_of(self.user_embeds, users)
        return torch.cat([own, torch.ones_like(own[:, :1])], 1)

    def item_rows(self, items):
        seen = product(self.features, self.projection, items)
        bias = seen[:, -1:] + rows_of(self.item_bias, items)
        return torch.cat([rows_of(self.item_embeds, items), seen[:, :-1], bias], 1)

    def outputs(self):
        return tuple(rows(torch.arange(size, device=self.generator.device))
                     for rows, size in zip((self.user_rows, self.item_rows), self.rows.shape, strict=True))

    def losses(self, users, positives, negatives):
        """As `row_losses` has them; of the features only what these need is projected."""
        items = self.item_rows(positives), self.item_rows(negatives)
        return self.row_losses((self.user_rows(users), *items), (rows_of(self.user_embeds, users), *items), positives,
                               lambda: self.outputs()[1])
