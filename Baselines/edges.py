"""Scores and weights of a graph's edges that are trained themselves."""
import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable


class Edges:
    """Directed edges to targets from sources, sorted by target: the interactions seen from one side.

    A table of values by edge (E,) meets tables of nodes (N, d) in two ways, each of which is the gradient of the other,
    so that nothing of E x d is kept for the backward pass.
    """

    def __init__(self, targets, sources, n_targets, n_sources):
        """targets, sources (E,): int64, sorted by target."""
        self.targets, self.sources = targets, sources
        self.starts = starts_of(targets, n_targets)
        self.by_source = torch.argsort(sources, stable=True)
        self.source_starts = starts_of(sources, n_sources)

    def products(self, targets, sources):
        """<target's row, source's row> of every edge (E,), of tables (N, d) of each side."""
        return _Products.apply(targets, sources, self)

    def sums(self, weights, sources):
        """Each target's sum (N, d) of its sources' rows by the edges' weights (E,)."""
        return _Sums.apply(weights, sources, self)

    def softmax(self, scores):
        """The softmax of every target's scores (E,), which are at most 1: so no highest is needed."""
        return _Softmax.apply(scores, self)

    def total(self, values):
        """Each target's sum of values (E,), given to all of its edges."""
        ones = values.new_ones(1, 1)
        return bags(torch.zeros_like(self.sources), ones, self.starts, values)[self.targets, 0]

    def to_targets(self, weights, sources):
        return bags(self.sources, sources, self.starts, weights)

    def to_sources(self, weights, targets):
        return bags(self.targets[self.by_source], targets, self.source_starts, weights[self.by_source])


def starts_of(rows, n):
    starts = torch.zeros(n + 1, dtype=torch.int64, device=rows.device)
    torch.cumsum(torch.bincount(rows, minlength=n), 0, out=starts[1:])
    return starts


def bags(index, table, starts, weights):
    """Row r: the sum of weights * table[index] between starts[r] and starts[r + 1]."""
    return F.embedding_bag(index, table, starts, mode='sum', include_last_offset=True, per_sample_weights=weights)


def row_products(table, rows, other, columns):
    return (table[rows] * other[columns]).sum(1)


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(ctx, targets, sources, edges):
        ctx.edges = edges
        ctx.save_for_backward(targets, sources)
        return row_products(targets, edges.targets, sources, edges.sources)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        targets, sources = ctx.saved_tensors
        return ctx.edges.to_targets(grad, sources), ctx.edges.to_sources(grad, targets), None


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weights, sources, edges):
        ctx.edges = edges
        ctx.save_for_backward(weights, sources)
        return edges.to_targets(weights, sources)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (weights, sources), edges = ctx.saved_tensors, ctx.edges
        return (row_products(grad, edges.targets, sources, edges.sources), edges.to_sources(weights, grad), None)


class _Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, scores, edges):
        powers = (scores - 1).exp()
        shares = powers / edges.total(powers)
        ctx.edges = edges
        ctx.save_for_backward(shares)
        return shares

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        shares, = ctx.saved_tensors
        return shares * (grad - ctx.edges.total(shares * grad)), None
