"""The contrastive loss NCE (SPEC section 6) without its matrix of similarities.

    NCE(P, Q) = mean over rows n of  -s_nt/temp + log sum_j exp(s_nj/temp),   s = cosine, t the column n belongs to

The similarities are made a part at a time and used while they are in the cache: for their sums and, in the same pass,
for the gradients, which need the row sums only as a factor per row. For the rows that factor can come last, so
the parts may be small tiles; for the columns it comes first, so a part is a few whole rows. Extra memory is
that of the gradients and one part.
"""
import torch
import torch.nn.functional as F

CHUNK_ENTRIES = {'cpu': 2**20, 'cuda': 2**26}  # similarities of whole rows held at a time: some CPU cache
TILE_ROWS = {'cpu': 1024, 'cuda': 8192}
TILE_ENTRIES = {'cpu': 2**18, 'cuda': 2**26}  # of a tile: the cache of one core
SAFE_EXPONENT = 40  # exp of it, summed over millions of columns, is far inside float32's range


def nce(rows, columns, temp, targets=None, chunk=None):
    """Mean over the rows (n, d) of -s_nt/temp + log sum_j exp(s_nj/temp), j over all columns (N, d).

    targets (n,): the column that each row belongs to; None: row n and column n. chunk: rows at a time.
    Only sides that require a gradient cost one.
    """
    rows, columns = F.normalize(rows), F.normalize(columns)
    own = columns if targets is None else F.embedding(targets, columns)
    return mean_logsumexp(rows, columns, temp, chunk) - (rows * own).sum(1).mean() / temp


def self_nce(rows, temp, chunk=None):
    """NCE(P, sg(P)): every row against all rows, themselves included; no gradient through the columns."""
    rows = F.normalize(rows)
    own = (rows * rows.detach()).sum(1).mean()
    return mean_logsumexp(rows, rows.detach(), temp, chunk, symmetric=True) - own / temp


def mean_logsumexp(rows, columns, temp, chunk=None, symmetric=False):
    """mean_n log sum_j exp(<rows_n, columns_j>/temp) of rows of unit length. symmetric: columns is rows, detached."""
    device, safe = columns.device.type, 1 / temp <= SAFE_EXPONENT
    if safe and not symmetric and not (columns.requires_grad and torch.is_grad_enabled()):
        function, size = _RowsLogSumExp, TILE_ROWS[device]
    else:
        function = _SymmetricLogSumExp if symmetric and safe else _LogSumExp
        few = min(max(rows.shape[1], 128), 256)  # with fewer rows the products with their transpose are slow
        size = max(few, CHUNK_ENTRIES[device] // len(columns))
    return function.apply(rows, columns, temp, min(chunk or size, len(rows)))


class _RowsLogSumExp(torch.autograd.Function):
    """Without a gradient for the columns: tile by tile."""

    @staticmethod
    def forward(ctx, rows, columns, temp, chunk):
        needs_grad = ctx.needs_input_grad[0]
        grad = torch.zeros_like(rows) if needs_grad else None
        sums = rows.new_zeros(len(rows))
        width = max(64, TILE_ENTRIES[columns.device.type] // chunk)
        parts = [(part, part.T / temp) for part in columns.split(width)]
        for start in range(0, len(rows), chunk):
            part = rows[start:start + chunk]
            for some, scaled in parts:
                exps = torch.mm(part, scaled).exp_()
                sums[start:start + chunk] += exps.sum(1)
                if needs_grad:
                    grad[start:start + chunk].addmm_(exps, some)
        return _finish(ctx, sums, grad, temp)

    @staticmethod
    def backward(ctx, grad):
        return _scaled(ctx.saved_tensors[0], grad), None, None, None


def _finish(ctx, sums, grad, temp):
    """Divide each row's gradient by its sum, keep it for the backward pass, and return the mean of the logarithms."""
    if grad is not None:
        grad /= (temp * len(sums) * sums)[:, None]
    ctx.save_for_backward(grad)
    return sums.log().mean()


def _scaled(saved, grad):
    return None if saved is None else saved * grad


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows, columns, temp, chunk):
        needs_rows, needs_columns = ctx.needs_input_grad[:2]
        grad_rows = torch.empty_like(rows) if needs_rows else None
        grad_columns = torch.zeros_like(columns) if needs_columns else None
        similarities = rows.new_empty(chunk, len(columns))
        scaled = columns.T / temp
        total = rows.new_zeros(())
        weight = 1 / (temp * len(rows))
        for start in range(0, len(rows), chunk):
            part = rows[start:start + chunk]
            exps = torch.mm(part, scaled, out=similarities[:len(part)])
            if 1 / temp > SAFE_EXPONENT:  # cosines are at most 1, so only a small temperature needs the shift
                highest = exps.amax(1, keepdim=True)
                total += highest.sum()
                exps -= highest
            sums = exps.exp_().sum(1)
            total += sums.log().sum()
            factors = (weight / sums)[:, None]
            if needs_rows:
                torch.mm(exps, columns, out=grad_rows[start:start + chunk])
                grad_rows[start:start + chunk] *= factors
            if needs_columns:
                grad_columns.addmm_(exps.T, part * factors)
        ctx.save_for_backward(grad_rows, grad_columns)
        return total / len(rows)

    @staticmethod
    def backward(ctx, grad):
        return *(_scaled(saved, grad) for saved in ctx.saved_tensors), None, None


class _SymmetricLogSumExp(_RowsLogSumExp):
    """The same for columns = rows: similarities on and above the diagonal serve both of their rows."""

    @staticmethod
    def forward(ctx, rows, columns, temp, chunk):
        needs_grad = ctx.needs_input_grad[0]
        grad = torch.zeros_like(rows) if needs_grad else None
        scaled = columns.T / temp
        sums = rows.new_zeros(len(rows))
        for start in range(0, len(rows), chunk):
            end = start + chunk
            part = rows[start:end]
            exps = torch.mm(part, scaled[:, start:]).exp_()
            beyond = exps[:, len(part):]
            sums[start:end] += exps.sum(1)
            sums[end:] += beyond.sum(0)
            if needs_grad:
                grad[start:end].addmm_(exps, columns[start:])
                grad[end:].addmm_(beyond.T, part)
        return _finish(ctx, sums, grad, temp)
