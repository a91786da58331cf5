"""The files of a data set folder, as check.py tells of them: which are published, which are not read, which lack."""
import re

from DataHandler import MATRIX_SUFFIXES, SPLITS, entries, interactions, read_matrix, unread_features
from Datasets.published import (
    identity,
    is_known,
    published,
    published_modalities,
    recognise,
    whose_interactions,
)
from Utils.Content import what_is
from Utils.Digests import file_digests
from Utils.Errors import InputError

MEANT_AS_FEATURES = re.compile(r'(?P<modality>.+)[_-]feat(s|ures?)?(\..*)?', re.IGNORECASE)
NOT_ARRAYS = ('users.csv', 'items.csv', 'dataset.json')


def report_files(report, folder, raw, files):
    """raw: the matrices as stored, by split, where they could be read; files: those of the features, by modality."""
    dataset = None
    if len(raw) == len(SPLITS):
        dataset = whose_interactions([interactions(raw[split]) for split in SPLITS])
        told = f'those of {dataset}, as published' if dataset else 'of no published data set'
        if folder.name in published() and dataset != folder.name:
            report.error(f'interactions: {told}; the folder is called {folder.name}, but they are not those of it')
        else:
            report.say(f'interactions: {told}')
    for path in entries(folder):
        if path.is_file():
            try:
                digests = file_digests(path)
            except OSError as error:
                report.error(f'{path.name} cannot be read: {error.strerror}')
                continue
            wrong, text = told_of_file(path.name, digests, folder.name, dataset, len(raw) == len(SPLITS))
            (report.error if wrong else report.say)(f'{digests["sha256"]}  {path.name}: {text}')
    unread = report_second_matrices(report, folder) + report_unread_features(report, folder, files)
    read = {path.name for path in files.values()} | {f'{stem}{suffix}' for stem in SPLITS.values()
                                                     for suffix in MATRIX_SUFFIXES}
    if more := [path.name for path in entries(folder) if path.name not in {*read, *unread, *NOT_ARRAYS}]:
        report.say(f'also here and not read: {", ".join(more)}')
    report_lacking(report, folder, dataset or folder.name, files)


def told_of_file(name, digests, claimed, dataset, readable):
    """(whether it is wrong, what is told) of the file of that name.

    claimed: the folder's name; dataset: whose published interactions lie beside it, if any; readable: whether the
    matrices there could be read at all.
    """
    found = recognise(digests)
    expected = published().get(claimed, {'files': {}})['files'].get(name, {})
    if found is None:
        if is_known(expected):
            return True, f'differs from the published file ({identity(expected)})'
        return False, 'unknown'
    if found.other is not None:
        return told_of_other_features(found.other, dataset, readable)
    if found.name != name:
        mistaken = name in published()[found.dataset]['files']
        return mistaken, f'known: it is {found.dataset}\'s published {found.name} under another name'
    if expected and found.dataset != claimed:
        return True, f'known, the published file of {found.dataset}, not of {claimed}'
    told = 'known, the published file' + (f' of {found.dataset}' if found.dataset != claimed else '')
    if '_feat.' in name and readable and dataset != found.dataset:
        return dataset is not None, f'{told}, but {beside_others(found.dataset)}'
    return False, told


def told_of_other_features(entry, dataset, readable):
    told = f'known: {entry["what"]}'
    if 'beside' in entry:
        fits = dataset == entry['beside'] or not readable
        return not fits and dataset is not None, told if fits else f'{told}, but {beside_others(entry["beside"])}'
    if dataset == entry['not_beside']:
        return True, (f'{told}: the matrices here number them otherwise, so that every item would get the features of '
                      'another. They must not be put here as they are: python Datasets/align.py carries them over')
    return False, f'{told}: they are right beside matrices with the same numbers only'


def beside_others(dataset):
    return (f'the interactions here are not those of {dataset} as published: the rows may belong to other items than '
            'the columns of the matrices')


def report_second_matrices(report, folder):
    """Tell of pickles in whose place an .npz is read; their names."""
    unread = []
    for stem in SPLITS.values():
        first, second = (folder / f'{stem}{suffix}' for suffix in MATRIX_SUFFIXES)
        if first.is_file() and second.is_file():
            unread.append(second.name)
            try:
                same = (interactions(read_matrix(first)) != interactions(read_matrix(second))).nnz == 0
            except (InputError, ValueError):  # damaged, or of another shape
                same = None
            told = f'{second.name}: not read, {first.name} is'
            if same is False:
                report.error(f'{told}, and they hold different interactions: take one of them away')
            else:
                report.say(told + (', which holds the same' if same else ''))
    return unread


def report_unread_features(report, folder, files):
    """Tell of what looks like features and is not read; the names of these."""
    try:
        unread = unread_features(folder)
    except InputError:  # told of already
        return []
    for path in unread:
        meant = MEANT_AS_FEATURES.fullmatch(path.name)
        modality = meant and meant['modality']
        if modality in files:
            report.say(f'{path.name}: not read, {files[modality].name} is')
        elif meant:
            kind = what_is(path)[0] if path.is_file() else 'a folder'
            report.error(f'{path.name}{f" ({kind})" if kind else ""} is not read: features are read from '
                         f'{modality}_feat.npy, written by numpy.save, or {modality}_feat.npy.zip with one in it')
        else:
            report.say(f'{path.name}: not read; features are read from NAME_feat.npy and NAME_feat.npy.zip')
    return [path.name for path in unread]


def report_lacking(report, folder, dataset, files):
    """Tell which modalities the paper has of the data set and the folder has not."""
    if dataset in published():
        paper = published_modalities(dataset)
        if lacking := [name for name in paper if name not in files]:
            to = '' if folder.name == dataset and folder.parent.name == 'Datasets' else f' --to {folder}'
            report.say(f'modalities of the paper: {", ".join(paper)}; not here: {", ".join(lacking)} '
                       f'(python Datasets/fetch.py {dataset}{to})')
