"""Checkpoints: a run's whole state in one file, written whole, and read again without running any code."""
import os
import random
import zipfile
from pathlib import Path

import numpy as np
import torch

from Utils.Errors import InputError
from Utils.TimeLogger import log

NEWEST, PREVIOUS, PARTIAL = 'checkpoint.pt', 'checkpoint.previous.pt', 'checkpoint.partial.pt'
ALL = (NEWEST, PREVIOUS, PARTIAL)
VERSION = 1  # of what a checkpoint holds


def save_checkpoint(folder, state):
    """Write tensors, numbers, texts, lists and dictionaries to folder/checkpoint.pt.

    The new file takes its place only once it is on the disk, and the one before stays as checkpoint.previous.pt.
    InputError if it cannot be written; then both are as they were.
    """
    folder = Path(folder)
    partial, newest = folder / PARTIAL, folder / NEWEST
    try:
        with open(partial, 'wb') as file:
            torch.save({**state, 'version': VERSION}, file)
            file.flush()
            os.fsync(file.fileno())
        if newest.exists():
            newest.replace(folder / PREVIOUS)
        partial.replace(newest)
        sync_folder(folder)
    except (OSError, RuntimeError) as error:  # torch turns a failed write into a RuntimeError
        partial.unlink(missing_ok=True)
        cause = error if isinstance(error, OSError) else error.__context__
        reason = getattr(cause, 'strerror', None) or 'the disk may be full'
        raise InputError(f'The checkpoint {newest} cannot be written ({reason}): the one before is kept. Free some '
                         'space there and go on with --resume.') from error


def sync_folder(folder):
    """Make the names in a folder as lasting as the files they name."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def load_checkpoint(folder):
    """The newest checkpoint of the folder that can be read, on the CPU; None if there is none at all.

    A damaged one is told of and removed in favour of the one before; InputError if both are damaged, which are left.
    """
    damaged = []
    for path in (Path(folder) / NEWEST, Path(folder) / PREVIOUS):
        if not path.is_file():
            continue
        try:
            with zipfile.ZipFile(path) as archive:  # torch itself does not look at the checksums
                if archive.testzip() is not None:
                    raise ValueError('checksum')
            state = torch.load(path, map_location='cpu', weights_only=True)
            if state['version'] != VERSION:
                raise ValueError('version')
        except MemoryError:
            raise
        except Exception as error:  # zipfile, pickle and torch each have their own for a damaged file
            damaged.append(path)
            log(f'{path} is damaged or of another program ({type(error).__name__}): passed over')
            continue
        if damaged:
            log(f'going back to the checkpoint before it, {path}')
            remove_checkpoints(folder, (NEWEST,))  # so that it does not take the place of the good one
        return state
    if damaged:
        raise InputError(f'No checkpoint in {folder} can be read: start anew with --overwrite or another --out.')
    return None


def remove_checkpoints(folder, names=ALL):
    for name in names:
        (Path(folder) / name).unlink(missing_ok=True)


def random_states(generator):
    """The state of the run's generator and of every global one."""
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002 (ours draw from `generator`; a library may use this)
    version, words, gauss = random.getstate()
    return {'generator': generator.get_state(), 'torch': torch.get_rng_state(),
            'cuda': torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
            'numpy': [kind, torch.from_numpy(keys.astype(np.int64)), *rest], 'python': [version, list(words), gauss]}


def restore_random_states(states, generator):
    generator.set_state(states['generator'])
    torch.set_rng_state(states['torch'])
    if states['cuda'] and torch.cuda.is_initialized() and len(states['cuda']) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states['cuda'])
    kind, keys, *rest = states['numpy']
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    version, words, gauss = states['python']
    random.setstate((version, tuple(words), gauss))
