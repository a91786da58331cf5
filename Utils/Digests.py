"""Checksums by content: of interactions, features and ids as they are used, and of files as they lie on the disk."""
import hashlib
import json

import numpy as np

BLOCK = 2**20  # bytes of a file read at a time


def add_interactions(digest, matrices):
    """matrices: the training, validation and test interactions, CSR matrices of ones with sorted indices."""
    for matrix in matrices:
        for part in (np.array(matrix.shape), matrix.indptr, matrix.indices):
            digest.update(part.astype('<i8'))
    return digest


def interactions_sha256(matrices):
    return add_interactions(hashlib.sha256(), matrices).hexdigest()


def features_sha256(table):
    """table: float32 array (I, width)."""
    digest = hashlib.sha256(str(table.shape).encode())
    digest.update(table)
    return digest.hexdigest()


def ids_sha256(ids):
    return hashlib.sha256(json.dumps(ids).encode()).hexdigest()


def file_digests(path):
    """{'sha256': that of the file, 'git_blob': the name that git gives its content, 'bytes': its size}."""
    size = path.stat().st_size
    plain, blob = hashlib.sha256(), hashlib.sha1(b'blob %d\0' % size, usedforsecurity=False)
    with open(path, 'rb') as file:
        while block := file.read(BLOCK):
            plain.update(block)
            blob.update(block)
    return {'sha256': plain.hexdigest(), 'git_blob': blob.hexdigest(), 'bytes': size}
