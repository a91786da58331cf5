"""SLMRec: Tao, Liu, Xia, Wang, Yang, Huang, Chua, "Self-Supervised Learning for Multimedia Recommendation", IEEE
Transactions on Multimedia 2022, doi 10.1109/TMM.2022.3187556."""
import torch
import torch.nn.functional as F
from torch import nn

from Baselines.common import all_decay, xavier_linear
from Baselines.modal import ModalLightGCN
from Utils.NCE import nce
from Utils.Ranking import RANKED
from Utils.Ranks import own_rows
from Utils.Utils import rows_of


class SLMRec(ModalLightGCN):
    """The batch's pairs (u_b, p_b) against each other, without negatives, and a self-supervised task.

    H and O as `ModalLightGCN` has them; CE(S) = mean over b of -S_bb + log sum_c exp S_bc of a square table S, and
    C(P, Q) = CE(norm(P) norm(Q)' / temp):
        main = C(O_u[u], O_i[p])
        cl   = ssl_reg * task
        reg  = reg/2 * the squares of all parameters
    and the task (`ssl_task`):
        fac  sum over m = 1 .. M of CE(y_m[p] (k_m(H_m)[p])' / temp), items alone, along a chain from the ids through
             the modalities in their order: y_0 = H_0, y_m = g_m(y_(m-1)); g_m, k_m linear, d -> d, the last d -> d/2; a
             shift in k_m would move all of a row's products alike, which CE does not see: it has none
        fd   C(O'_u[u], O''_u[u]) + C(O'_i[p], O''_i[p]) of two encodings with dropout (`embed_drop`) after each product
        fm   the same of two encodings in each of which another one of [ids, modalities] has zeros as items' rows
    Decayed is everything, as by the `weight_decay` of the authors' program. The plain products in `fac` are that
    program's, too. One temperature serves where it has two.
    """

    flags = ModalLightGCN.flags - RANKED | {'ssl_task', 'ssl_reg', 'temp', 'embed_drop', 'nce_chunk'}

    def __init__(self, dataset, settings, generator):
        super().__init__(dataset, settings, generator)
        if settings.ssl_task == 'fac':
            d, n = settings.latdim, self.parts - 1
            self.chain, self.known = (
                nn.ModuleList(xavier_linear(d, d if number < n - 1 else max(d // 2, 1), generator, shifted)
                              for number in range(n)) for shifted in (True, False))

    def losses(self, users, positives, negatives):
        settings, inputs = self.settings, self.inputs()
        encoded = self.encode(self.adj, inputs)
        main = nce(self.user_rows(encoded, users), self.item_rows(encoded, positives), settings.temp,
                   chunk=settings.nce_chunk)
        if settings.ssl_task == 'fac':
            task = self.along_modalities(rows_of(encoded[1], positives))
        else:
            views = self.dropped_views(inputs) if settings.ssl_task == 'fd' else self.masked_views(inputs)
            task = sum(nce(*(rows(view, nodes) for view in views), settings.temp, chunk=settings.nce_chunk)
                       for rows, nodes in ((self.user_rows, users), (self.item_rows, positives)))
        return {'main': main, 'cl': settings.ssl_reg * task, 'reg': settings.reg * all_decay(self)}

    def along_modalities(self, rows):
        """The task fac of H's rows of the batch's items (B, (1 + M) d)."""
        reached, *shown = rows.chunk(self.parts, 1)
        target, total = own_rows(torch.arange(len(rows), device=rows.device)), 0
        for step, known, table in zip(self.chain, self.known, shown, strict=True):
            reached = step(reached)
            products = own_rows(reached) @ known(table).T
            total = total + F.cross_entropy(products / self.settings.temp, target, reduction='sum') / len(rows)
        return total

    def dropped_views(self, inputs):
        return [self.encode_dropped(inputs, self.settings.embed_drop) for _ in range(2)]

    def masked_views(self, inputs):
        device = inputs.device
        masked = torch.randperm(self.parts, generator=self.generator, device=device)[:2, None]
        kept = (torch.arange(self.parts, device=device) != masked).repeat_interleave(self.settings.latdim, 1)
        return [self.encode(self.adj, inputs * columns) for columns in kept]
