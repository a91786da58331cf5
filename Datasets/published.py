"""The published files, known by content: what checksums.json says of them, and what a file or a matrix is by it.

Of each data set: where it is published, the checksum of its interactions as the suite reads them, and its files by
name, with SHA-256 and the name that git gives the content where they are known. Besides, other people's features of the
same items: `beside` names the data set whose matrices they fit, `not_beside` one whose items they number otherwise.
"""
import json
from dataclasses import dataclass
from pathlib import Path

from Utils.Digests import interactions_sha256
from Utils.Errors import InputError

CHECKSUMS = Path(__file__).resolve().parent / 'checksums.json'
KINDS = ('sha256', 'git_blob')  # checksums of content, either of which tells a file


def published():
    """Data set -> what is published of it."""
    return json.loads(CHECKSUMS.read_text())['sets']


def other_features():
    return json.loads(CHECKSUMS.read_text())['other_features']


def is_known(entry):
    """Whether a checksum of the file is known."""
    return any(kind in entry for kind in KINDS)


def is_same(entry, digests):
    """Whether a file with these digests (Digests.file_digests) is the one of the entry."""
    return is_known(entry) and all(entry[kind] == digests[kind] for kind in KINDS if kind in entry)


def identity(entry):
    """A file's checksums, in words."""
    told = [f'{what} {entry[kind]}' for kind, what in (('sha256', 'SHA-256'), ('git_blob', 'git blob'))
            if kind in entry]
    return ', '.join(told) or 'no checksum of it is known'


@dataclass(frozen=True)
class Recognised:
    """A file known by content: a published one, by its data set and name, or other features (the entry) of it."""

    dataset: str | None = None
    name: str | None = None
    other: dict | None = None


def recognise(digests):
    """What a file with these digests is, as Recognised; None where it is not known."""
    for dataset, entry in published().items():
        for name, file in entry['files'].items():
            if is_same(file, digests):
                return Recognised(dataset, name)
    return next((Recognised(other=entry) for entry in other_features() if is_same(entry, digests)), None)


def whose_interactions(matrices):
    """The data set whose published interactions the three matrices are (CSR, in the order of SPLITS), or None."""
    found = interactions_sha256(matrices)
    return next((name for name, entry in published().items() if entry['interactions_sha256'] == found), None)


def published_modalities(dataset):
    """The modalities with which the paper uses a data set: those that are published with it."""
    return [name.partition('_feat.')[0] for name in published()[dataset]['files'] if '_feat.' in name]


def require_published(name):
    if name not in published():
        raise InputError(f'There is no published data set {name!r}; there are: {", ".join(published())}.')
