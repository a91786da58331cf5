"""The part of a run that falls to this process, where torchrun has started several: its ranks (torch.distributed).

Every rank holds all parameters and draws the same random numbers. What costs most is cut by rows: a rank computes the
terms of a loss for its own rows, and the ranks' terms and gradients are added up. Pieces of work that need nothing of
each other are done whole, each by its `owner`, where every rank can have as many. A process that is alone has all rows
and all pieces, and then each function here gives back what it got.
"""
import zlib
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.distributed as dist

from Utils.Errors import InputError

SMALL = 2**16  # values: smaller gradients are sent together
_apart = ContextVar('apart', default=False)


class RankLostError(InputError):
    """Another process of the run has ended, or cannot be reached."""


def joined():
    """Whether this process is one of a group, even if the only one."""
    return dist.is_available() and dist.is_initialized() and not _apart.get()


def n_ranks():
    return dist.get_world_size() if joined() else 1


def rank():
    return dist.get_rank() if joined() else 0


@contextmanager
def apart(really=True):
    """While entered, this process computes as if it were alone, if `really`."""
    token = _apart.set(really or _apart.get())
    try:
        yield
    finally:
        _apart.reset(token)


def own_share(n):
    """The slice of n rows that falls to this rank; the ranks' numbers of rows differ by one at most."""
    return slice(n * rank() // n_ranks(), n * (rank() + 1) // n_ranks())


def owner(number, n):
    """The rank that does piece `number` of n by itself; None where all ranks share each piece."""
    return number * n_ranks() // n if n_ranks() > 1 and n % n_ranks() == 0 else None


def hand_round(tensors, owner):
    """Give every rank what the owner of a piece of work made of these tensors, in place; None: all have it."""
    if owner is not None:
        with lost_ranks_told():
            for work in [dist.broadcast(tensor, owner, async_op=True) for tensor in tensors]:
                work.wait()


def own_parts(n, size):
    """This rank's share of n rows as slices of `size` rows at most, at least one."""
    share = own_share(n)
    starts = range(share.start, share.stop, size)
    return [slice(start, min(start + size, share.stop)) for start in starts] or [share]


def own_part_of_each(names, n):
    """name -> the slice that falls to this rank of n rows under that name, where the names stand one after the other:
    a rank meets few of them, which alone are in the result."""
    share = own_share(len(names) * n)
    parts = {name: slice(*(min(max(end - number * n, 0), n) for end in (share.start, share.stop)))
             for number, name in enumerate(names)}
    return {name: part for name, part in parts.items() if part.stop > part.start}


def own_rows(*tables):
    """This rank's rows of each table; of a single one, that one."""
    if n_ranks() > 1:
        tables = tuple(table[own_share(len(table))] for table in tables)
    return tables if len(tables) > 1 else tables[0]


def is_own_strip(number):
    """Whether this rank has the strip of that number of a triangle cut into strips, the first of them the longest."""
    turn = number % (2 * n_ranks())
    return rank() == min(turn, 2 * n_ranks() - 1 - turn)


def add_up(tensor):
    """The tensor with all ranks' entries added up, in place."""
    add_up_all([tensor])
    return tensor


def add_up_all(tensors):
    if joined():
        with lost_ranks_told():
            for work in [dist.all_reduce(tensor, async_op=True) for tensor in tensors]:
                work.wait()


def add_up_gradients(parameters):
    """Give every rank the gradient of the sum of all ranks' losses. Where a rank's part does not reach a parameter, its
    gradient is 0."""
    if not joined():
        return
    parameters = list(parameters)
    for parameter in parameters if n_ranks() > 1 else ():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    small = [grad for grad in grads if grad.numel() <= SMALL]
    together = torch.cat([grad.flatten() for grad in small]) if small else None
    add_up_all([*(grad for grad in grads if grad.numel() > SMALL), *([together] if small else [])])
    if small:
        for grad, total in zip(small, together.split([grad.numel() for grad in small]), strict=True):
            grad.copy_(total.view_as(grad))


def gathered(rows, n, index=None):
    """The whole table of n rows, of which this rank has its own share, or those that `index` names."""
    if n_ranks() == 1:
        return rows
    number_like = rows.to(torch.uint8) if rows.dtype == torch.bool else rows
    table = number_like.new_zeros(n, *rows.shape[1:])
    table[own_share(n) if index is None else index] = number_like
    return add_up(table).to(rows.dtype)


def require_same(parameters, generator):
    """InputError where the ranks' parameters (name -> tensor) or random streams are no longer the same."""
    if n_ranks() == 1:
        return
    names = ['the random numbers', *parameters]
    stream = float(zlib.crc32(generator.get_state().cpu().numpy()))
    sums = torch.stack([parameter.detach().double().sum() for parameter in parameters.values()]).cpu()
    seen = torch.cat([torch.tensor([stream], dtype=torch.float64), sums])
    table = gathered(seen[None], n_ranks())
    other = (table != table[:1]).any(0).nonzero()
    if len(other):
        raise InputError(f'The processes of the run no longer agree on {names[int(other[0])]}, so that its figures '
                         'would be wrong: it ends here. Machines or GPUs of different kinds cannot share a run.')


@contextmanager
def lost_ranks_told():
    """Tell by RankLostError where an exchange with the other processes fails."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise RankLostError('another process of the run has ended or does not answer') from error
