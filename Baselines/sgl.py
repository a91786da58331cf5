"""SGL-ED: Wu, Wang, Feng, He, Chen, Lian, Xie, "Self-supervised Graph Learning for Recommendation", SIGIR 2021,
arXiv 2010.10783."""
import torch

from Baselines.common import contrast_nodes
from Baselines.lightgcn import LightGCN
from Utils.Graph import normalised_graph
from Utils.Utils import cross_modal_loss


class SGL(LightGCN):
    """LightGCN whose outputs on two graphs, drawn anew each epoch, are contrasted.

    Each graph keeps every interaction with probability 1 - edge_drop and is normalised as the whole one. With NCE as in
    SPEC section 6, over the batch's users and positive items against all users and items:
        cl = ssl_reg (C(users; O_1, O_2) + C(items; O_1, O_2))
    Means over the batch stand in place of the paper's sums.
    """

    flags = LightGCN.flags | {'edge_drop', 'ssl_reg', 'temp', 'cl_sample', 'nce_chunk'}

    def __init__(self, dataset, settings, generator):
        super().__init__(dataset, settings, generator)
        self.keep(torch.ones(2, len(self.rows.items), dtype=torch.bool, device=generator.device))

    def keep(self, kept):
        """Make the two graphs of the interactions (in the order of `rows`) that are true in each row of kept."""
        self.kept = kept
        self.views = [normalised_graph(self.rows.users[some], self.rows.items[some], self.rows.shape, loops=False)
                      for some in kept]

    def get_extra_state(self):
        return {'kept': self.kept}

    def set_extra_state(self, state):
        self.keep(state['kept'].to(self.generator.device))

    def begin_epoch(self, boundary):
        self.keep(torch.rand(self.kept.shape, generator=self.generator,
                             device=self.generator.device) >= self.settings.edge_drop)
        return {}

    def losses(self, users, positives, negatives):
        settings = self.settings
        outputs = {number: self.outputs_on(view) for number, view in enumerate(self.views)}
        contrast = cross_modal_loss(outputs, *contrast_nodes(users, positives, settings.cl_sample, self.generator),
                                    settings.temp, settings.nce_chunk)
        return {**super().losses(users, positives, negatives), 'cl': settings.ssl_reg * contrast}
