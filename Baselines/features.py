"""The items' features as the baselines see them: X_m (I, d_m) of every modality m, its rows of unit length, so that
no modality outweighs another by the units it was measured in. That is this code's, not the papers'; DiffMM and MDMNS
take the features as they are."""
import torch
from torch import nn

from DataHandler import require_features
from Model import slot
from Utils.Graph import Block
from Utils.Layers import Linear, unit_rows
from Utils.Utils import rows_of

SPARSE = 0.05  # the share of entries other than 0 up to which products with a table pass over its zeros


def feature_tables(dataset, model, device):
    """name -> X_m. InputError, in which the model's name stands, where the data set has no features."""
    require_features(dataset, model)
    return {name: unit_rows(torch.as_tensor(table, device=device)) for name, table in dataset.features.items()}


def held(table):
    """X as `product` takes it: a Block of its entries other than 0 where these are few, as of brands and categories."""
    rows, cols = table.nonzero(as_tuple=True)
    if len(rows) > SPARSE * table.numel():
        return table
    return Block.of_entries(rows, cols, table[rows, cols], tuple(table.shape))


def product(table, weight, items=None):
    """X W (I, d), or its rows of the given items (B,), of a table that `held` gave."""
    if isinstance(table, Block):
        whole = table @ weight.contiguous()
        return whole if items is None else rows_of(whole, items)
    return (table if items is None else rows_of(table, items)) @ weight


def through(layer, table, items=None):
    """A Linear of X, or of its rows of the given items (B,), of a table that `held` gave."""
    if isinstance(table, Block):
        shown = product(table, layer.weight.T, items)
        return shown if layer.bias is None else shown + layer.bias
    return layer(table if items is None else rows_of(table, items))


class Projections(nn.Module):
    """F_m = X_m W_m' + b_m (I, d) of every modality; shifted: false where nothing would depend on b_m."""

    def __init__(self, tables, latdim, generator, shifted=True):
        super().__init__()
        self.tables = {name: held(table) for name, table in tables.items()}
        self.layers = nn.ModuleDict({slot(name): Linear(table.shape[1], latdim, generator)
                                     for name, table in tables.items()})
        for layer in () if shifted else self.layers.values():
            layer.bias = None

    def forward(self, items=None):
        """name -> F_m, or its rows of the given items (B,)."""
        return {name: through(self.layers[slot(name)], table, items) for name, table in self.tables.items()}
