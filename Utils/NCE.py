"""The contrastive loss NCE (SPEC section 6) without its matrix of similarities.

    NCE(P, Q) = mean over rows n of  -s_nt/temp + log sum_j exp(s_nj/temp),   s = cosine, t the column n belongs to

The similarities are made a tile at a time and used while the tile is in the cache: for the rows' sums and, in the same
pass, for the gradients. These need the sums only as a factor per row. For the rows it can come last, but for the
columns it comes first, so there a strip of tiles, as wide as there are columns, is kept until its sums are known.
Extra memory is that of the gradients and one strip.

Where several processes share a run (Utils/Ranks.py), each takes its share of the rows, against all columns, and returns
its part of the loss.
"""
import math

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from Utils.Device import release_freed_memory
from Utils.Layers import unit_rows
from Utils.Ranks import add_up, is_own_strip, n_ranks, own_rows

TILE = {'cpu': (1024, 512), 'cuda': (8192, 8192)}  # rows, columns: on a CPU what its cores' caches hold
STRIP_ENTRIES = {'cpu': 2**23, 'cuda': 2**28}  # similarities of a strip of tiles
SAFE_EXPONENT = 40  # exp of it, summed over millions of columns, is far inside float32's range


def nce(rows, columns, temp, targets=None, chunk=None):
    """Mean over the rows (n, d) of -s_nt/temp + log sum_j exp(s_nj/temp), j over all columns (N, d).

    targets (n,): the column that each row belongs to; None: row n and column n. chunk: rows at a time.
    Only sides that require a gradient cost one.
    """
    return unit_nce(unit_rows(rows), unit_rows(columns), temp, targets, chunk)


def unit_nce(rows, columns, temp, targets=None, chunk=None):
    """`nce` of rows and columns that have unit length already: for tables that take part in several contrasts."""
    own = columns if targets is None else F.embedding(targets, columns)
    return mean_logsumexp(rows, columns, temp, chunk) - mean_product(rows, own) / temp


def unit_self_nce(rows, temp, chunk=None):
    """NCE(P, sg(P)) of rows of unit length: each against all, itself included; no gradient through the columns."""
    constant = rows.detach()
    return mean_logsumexp(rows, constant, temp, chunk, symmetric=True) - mean_product(rows, constant) / temp


def mean_product(a, b):
    """mean_n <a_n, b_n>, without the table of products."""
    return torch.einsum('nd,nd->n', *own_rows(a, b)).sum() / len(a)


def mean_logsumexp(rows, columns, temp, chunk=None, symmetric=False):
    """mean_n log sum_j exp(<rows_n, columns_j>/temp) of rows of unit length. symmetric: columns is rows, detached."""
    device, safe, n = columns.device.type, 1 / temp <= SAFE_EXPONENT, len(rows)
    release_freed_memory(columns.device, len(rows) * len(columns))
    size, width = TILE[device]
    if symmetric and safe:
        height = chunk or width
        if n_ranks() > 1:  # strips enough for shares of the same size
            height = min(height, -(-n // (2 * n_ranks())))
        return _SymmetricLogSumExp.apply(rows, columns, temp, height, width)
    rows = own_rows(rows)
    if not safe:  # the highest of a whole row must be known before its exponentials
        width = len(columns)
    if not safe or (columns.requires_grad and torch.is_grad_enabled()):
        size = max(128, min(size, STRIP_ENTRIES[device] // len(columns)))
    return _LogSumExp.apply(rows, columns, temp, max(1, min(chunk or size, len(rows))), width, n)


class _LogSumExp(torch.autograd.Function):
    """Of some of the n rows that the mean is over."""

    @staticmethod
    def forward(ctx, rows, columns, temp, chunk, width, n):
        needs_rows, needs_columns = ctx.needs_input_grad[:2]
        grad_rows = torch.zeros_like(rows) if needs_rows else None
        grad_columns = torch.zeros_like(columns) if needs_columns else None
        tiles = [(part, _scaled(part, temp)) for part in columns.split(width)]
        spare = rows.new_empty(chunk * min(width, len(columns)))
        strip = [rows.new_empty(chunk, len(part)) if needs_columns else spare[:chunk * len(part)].view(chunk, -1)
                 for part, _ in tiles]
        total = rows.new_zeros(())
        for start in range(0, len(rows), chunk):
            some = rows[start:start + chunk]
            sums = some.new_zeros(len(some))
            for (part, scaled), buffer in zip(tiles, strip, strict=True):
                exps = torch.mm(some, scaled, out=buffer[:len(some)])
                if 1 / temp > SAFE_EXPONENT:  # cosines are at most 1, so only a small temperature needs the shift
                    highest = exps.amax(1, keepdim=True)
                    total += highest.sum() * math.log(2)
                    exps -= highest
                sums += exps.exp2_().sum(1)
                if needs_rows:
                    grad_rows[start:start + chunk].addmm_(exps, part)
            total += sums.log().sum()
            factors = 1 / (temp * n * sums)[:, None]
            if needs_rows:
                grad_rows[start:start + chunk] *= factors
            if needs_columns:
                weighted = some * factors
                for exps, grad in zip(strip, grad_columns.split(width), strict=True):
                    grad.addmm_(exps[:len(some)].T, weighted)
        ctx.save_for_backward(grad_rows, grad_columns)
        return total / n

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        given = (None,) * (len(ctx.needs_input_grad) - 2)
        return *(None if saved is None else saved.mul_(grad) for saved in ctx.saved_tensors), *given


def _scaled(columns, temp):
    """(d, N), so that 2 to the power of <row, column> is exp of <row, column>/temp: powers of 2 are cheaper."""
    return columns.T * (1 / (temp * math.log(2)))


class _SymmetricLogSumExp(_LogSumExp):
    """The same for all rows and columns = rows: a tile beside the diagonal serves its rows and its columns. Several
    processes share the tiles, and add up the rows' sums before they use them."""

    @staticmethod
    def forward(ctx, rows, columns, temp, chunk, width):
        needs_grad = ctx.needs_input_grad[0]
        grad = torch.zeros_like(rows) if needs_grad else None
        scaled = _scaled(columns, temp)
        sums = rows.new_zeros(len(rows))
        for number, start in enumerate(range(0, len(rows), chunk)):
            if not is_own_strip(number):
                continue
            here = slice(start, start + chunk)
            some = rows[here]
            for first in (start, *range(start + chunk, len(rows), width)):
                there = slice(first, first + (chunk if first == start else width))
                exps = torch.mm(some, scaled[:, there]).exp2_()
                sums[here] += exps.sum(1)
                if needs_grad:
                    grad[here].addmm_(exps, columns[there])
                if first > start:
                    sums[there] += exps.sum(0)
                    if needs_grad:
                        grad[there].addmm_(exps.T, some)
        add_up(sums)
        if needs_grad:
            grad /= (temp * len(rows) * sums)[:, None]
        ctx.save_for_backward(grad, None)
        return own_rows(sums).log().sum() / len(rows)
