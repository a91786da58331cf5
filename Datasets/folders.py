"""Data set folders on disk: made whole or not at all, and the checksums of what lies in them."""
import hashlib
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import scipy.sparse as sp


@contextmanager
def new_folder(folder):
    """A temporary folder to fill, which becomes `folder` at the end; nothing is left of it where that fails.

    OSError if `folder` is there by then or cannot be made.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f'.{folder.name}-', dir=folder.parent))
    try:
        yield partial
        partial.chmod(0o755)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial)
        raise


def save_dataset(folder, matrices, features):
    """Write the files of a data set: matrices by file stem, features by modality."""
    for stem, matrix in matrices.items():
        sp.save_npz(folder / f'{stem}.npz', matrix)
    for modality, table in features.items():
        np.save(folder / f'{modality}_feat.npy', table)


def sha256(path):
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
