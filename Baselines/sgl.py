"""SGL-ED: Wu, Wang, Feng, He, Chen, Lian, Xie, "Self-supervised Graph Learning for Recommendation", SIGIR 2021,
arXiv 2010.10783."""
from Baselines.common import contrast_nodes
from Baselines.lightgcn import LightGCN
from Baselines.thinned import Thinned
from Utils.Utils import cross_modal_loss


class SGL(Thinned, LightGCN):
    """LightGCN whose outputs on two graphs, drawn anew each epoch (`Thinned`), are contrasted.

    With NCE as in SPEC section 6, over the batch's users and positive items against all users and items:
        cl = ssl_reg (C(users; O_1, O_2) + C(items; O_1, O_2))
    Means over the batch stand in place of the paper's sums. Decayed are the batch's embeddings, all that LightGCN has.
    """

    flags = LightGCN.flags | {'edge_drop', 'ssl_reg', 'temp', 'cl_sample', 'nce_chunk'}
    n_thinned = 2

    def __init__(self, dataset, settings, generator):
        super().__init__(dataset, settings, generator)
        self.keep_all()

    def losses(self, users, positives, negatives):
        settings = self.settings
        outputs = {number: self.outputs_on(view) for number, view in enumerate(self.thinned)}
        contrast = cross_modal_loss(outputs, *contrast_nodes(users, positives, settings.cl_sample, self.generator),
                                    settings.temp, settings.nce_chunk)
        return {**super().losses(users, positives, negatives), 'cl': settings.ssl_reg * contrast}
