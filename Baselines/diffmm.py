"""DiffMM (Jiang et al., "DiffMM: Multi-Modal Diffusion Model for Recommendation", ACM MM 2024, arXiv 2406.11781)."""
from Model import MDMNS
from Utils.Layers import unit_rows
from Utils.Utils import FUSED, cross_modal_loss


class DiffMM(MDMNS):
    """The model that MDMNS descends from, by MDMNS's own parts: what differs is written here.

    The denoisers see their noised rows as they are. All modalities flow into one output, which is scored and ranked:
        h_m = A [E_u; norm(F_m)];  h_m <- h_m + A [h_m's users; E_i];  h_m <- h_m + ris_adj_lambda G_m [E_u; E_i]
        h   = sum_m softmax(modal_weight)_m h_m
        O   = sum_{l=0..gnn_layer} A^l h + ris_lambda norm(h)
    with A the normalised interaction graph, G_m the rebuilt modal graph and F_m (I, d) the projected features. The
    views V_m = sum_l A^l G_m [E_u; norm(F_m)] are contrasted with each other (cl_method 0) or each with O
    (cl_method 1), over the batch's users and positive items against all. Decayed by default are the whole tables E_u
    and E_i; F_m comes in at unit length and modal_weight by a softmax, so that neither could undo it.
    """

    flags = MDMNS.flags - {'guidance', 'guide_fused_hidden_dim', 'noise_levels', 'cl_sample', 'fused', 'score',
                           'item_lambda', 'item_links', 'item_layers'}

    def guided(self):
        return 'none'

    def graphs_between_items(self, dataset):
        return {}

    def outputs(self, projected):
        """The output O: {FUSED: (users (U, d), items (I, d))}.

        The weights sum to 1 and each h_m is affine in norm(F_m) and in G_m [E_u; E_i]: so h needs one aggregation of
        their weighted means.
        """
        weights = dict(zip(projected, self.modal_weight.softmax(0), strict=True))
        table = sum(weights[name] * unit_rows(features) for name, features in projected.items())
        first = self.adj(self.user_embeds, table)
        hidden = [sum(parts) for parts in zip(first, self.adj(first[0], self.item_embeds), strict=True)]
        for name, weight in weights.items():
            graph = self.modal_adj[name](self.user_embeds, self.item_embeds)
            hidden = [nodes + self.settings.ris_adj_lambda * weight * part
                      for nodes, part in zip(hidden, graph, strict=True)]
        return {FUSED: tuple(total + self.settings.ris_lambda * unit_rows(nodes)
                             for total, nodes in zip(self.layers(*hidden), hidden, strict=True))}

    def losses(self, users, positives, negatives):
        """The loss of ranking by O (mean over the batch), the decay, and the contrast."""
        settings, projected = self.settings, self.project()
        outputs, views = self.outputs(projected), self.contrast_views(projected)
        groups = [views] if settings.cl_method == 0 else [{**outputs, name: view} for name, view in views.items()]
        contrast = sum(cross_modal_loss(group, users, positives, settings.temp, settings.nce_chunk)
                       for group in groups)
        return {**self.ranking_terms([outputs[FUSED]], users, positives, negatives, len(users)),
                'cl': settings.ssl_reg * contrast}

    def scored(self, outputs):
        return {name: self.ranking.scored(pair) for name, pair in outputs.items()}
