"""MMGCL: Yi, Wang, Ounis, Macdonald, "Multi-modal Graph Contrastive Learning for Micro-video Recommendation", SIGIR
2022, doi 10.1145/3477495.3532027."""
import torch
import torch.nn.functional as F

from Baselines.modal import ModalLightGCN
from Baselines.thinned import Thinned
from Utils.Layers import unit_rows
from Utils.Ranks import own_rows
from Utils.Utils import rows_of


class MMGCL(Thinned, ModalLightGCN):
    """BPR of the outputs O, H as `ModalLightGCN` has them, with a contrast of users and items in two views of H:

        dropout  over a graph with a part of the interactions, drawn anew each epoch (`Thinned`)
        masking  over the whole graph, with random rows in place of those of one modality, drawn at each step

    With unit rows z_u, z_p of O_u, O_i in a view for the batch's pairs, and z_n of H's row of the positive item in
    which the last modality's columns are those of the negative item:
        C_v  = mean_b of -log  exp(<z_u, z_p>/temp) / (sum_c exp(<z_u, z_p'>/temp) + exp(<z_u, z_n>/temp))
                      + -log  exp(<z_u, z_p>/temp) / sum_c exp(<z_u', z_p>/temp),  u', p' those of pair c
        bpr  = mean of -log sigmoid(<O_u, O_p> - <O_u, O_n>)
        cl   = ssl_reg (C_dropout + C_masking)
        reg  = reg * mean of (||O_u||^2 + ||O_p||^2 + ||O_n||^2)/2
    This is the paper's; the authors' program computes one view's contrast twice and leaves the challenging negatives
    out of the sum. A masked row has normal entries of the mean square of those that it stands for, modalities are
    masked equally often, and the graph is drawn by epoch, not step: the paper leaves these open or has them else.
    Decayed are the batch's outputs, so that no matrix undoes it; that program has Adam's `weight_decay`. From reg
    1/sqrt(2) on bpr + reg is least where all outputs are 0, whatever the data: nothing but the contrast is left.
    """

    flags = ModalLightGCN.flags | {'edge_drop', 'ssl_reg', 'temp'}

    def __init__(self, dataset, settings, generator):
        super().__init__(dataset, settings, generator)
        self.keep_all()

    def masked(self, inputs):
        """The inputs with random rows in place of one modality's."""
        parts = list(inputs.chunk(self.parts, 1))
        number = 1 + int(torch.randint(self.parts - 1, (1,), generator=self.generator, device=inputs.device))
        spread = parts[number].detach().square().mean().sqrt()
        parts[number] = spread * torch.randn(parts[number].shape, generator=self.generator, device=inputs.device)
        return torch.cat(parts, 1)

    def losses(self, users, positives, negatives):
        settings, inputs = self.settings, self.inputs()
        encoded = self.encode(self.adj, inputs)
        rows = self.user_rows(encoded, users), *self.item_rows(encoded, torch.cat([positives, negatives])).chunk(2)
        views = self.encode(self.thinned[0], inputs), self.encode(self.adj, self.masked(inputs))
        contrast = sum(self.view_loss(view, users, positives, negatives) for view in views)
        return {**self.row_losses(rows, rows, positives, lambda: self.item_readout(encoded[1])),
                'cl': settings.ssl_reg * contrast}

    def view_loss(self, encoded, users, positives, negatives):
        """C_v of a view H."""
        d = self.settings.latdim
        own, other = (rows_of(encoded[1], items) for items in (positives, negatives))
        mixed = torch.cat([own[:, :-d], other[:, -d:]], 1)
        z_u = unit_rows(self.user_rows(encoded, users))
        z_p, z_n = (unit_rows(self.item_readout(rows)) for rows in (own, mixed))
        pairs, challenge = z_u @ z_p.T, (z_u * z_n).sum(1, keepdim=True)
        target, temp = torch.arange(len(users), device=users.device), self.settings.temp
        return sum(F.cross_entropy(*own_rows(products / temp, target), reduction='sum') / len(users)
                   for products in (torch.cat([pairs, challenge], 1), pairs.T))
