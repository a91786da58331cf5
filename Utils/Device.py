"""Where a run computes, and how the process uses the machine's memory."""
import ctypes
import sys
from functools import cache
from pathlib import Path

import torch

from Utils.Errors import InputError

RELEASE_FROM = 2**28  # values


def choose_device(name, gpu='0'):
    """--device and --gpu -> torch.device; `auto` is CUDA device `gpu` where there is one, else the CPU."""
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == 'auto':
        name = f'cuda:{gpu}' if n_gpus or gpu != '0' else 'cpu'
    kind, _, number = name.partition(':')
    if name == 'cpu':
        return torch.device('cpu')
    if kind != 'cuda' or (':' in name and not number.isdecimal()):
        raise InputError(f'--device {name} is not known: use auto, cpu, cuda or cuda:N.')
    number = int(number or gpu)
    if number >= n_gpus:
        raise InputError(f'CUDA device {number} is not there: torch sees {n_gpus or "no"} CUDA devices here. '
                         'Use --device cpu or the number of another device.')
    return torch.device('cuda', number)


def free_memory(device):
    """Bytes that can still be had there, swap included; None where that is not known."""
    if device.type == 'cuda':
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = (line.split() for line in Path('/proc/meminfo').read_text().splitlines())
        return sum(1024 * int(words[1]) for words in lines if words[0] in ('MemAvailable:', 'SwapFree:'))
    except (OSError, ValueError, IndexError):
        return None


def set_precision(precision, device):
    """--precision -> how torch multiplies float32 matrices; None: as suits the device."""
    highest = precision == 'highest' or (precision is None and device.type == 'cpu')
    torch.set_float32_matmul_precision('highest' if highest else 'high')


def keep_freed_memory():
    """Let the C library keep large freed blocks for the next tensor of that size, where it is glibc.

    By default the memory of a large tensor goes back to the kernel when it is freed, and the next one's pages are
    zeroed when first touched, which costs several times what most operations on such a tensor do.
    """
    library = _glibc()
    if library:
        m_trim_threshold, m_mmap_max = -1, -4  # malloc.h
        library.mallopt(m_mmap_max, 0)
        library.mallopt(m_trim_threshold, 2**31 - 1)


def release_freed_memory(device, values):
    """Before a job of that many values on a CPU: give the kernel back what is free at the moment.

    Freed blocks lie between others and are of little use to the tensors to come; they would add up. Only where the job
    takes seconds, so that touching new memory costs little beside it.
    """
    library = _glibc()
    if library and device.type == 'cpu' and values >= RELEASE_FROM:
        library.malloc_trim(0)


@cache
def _glibc():
    library = ctypes.CDLL(None) if sys.platform.startswith('linux') else None
    return library if hasattr(library, 'gnu_get_libc_version') else None
