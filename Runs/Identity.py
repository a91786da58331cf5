"""A run is tied to its data by content: checksums of the parts, and whether a folder still holds what the run had."""
from pathlib import Path

from DataHandler import SPLITS, feature_files, load_dataset, load_features, load_ids
from Utils.Digests import features_sha256, ids_sha256, interactions_sha256
from Utils.Errors import InputError
from Utils.TimeLogger import log

ADVICE = 'give the data set it was trained on with --data and --data_dir, or train again.'
SIDES = ('users', 'items')
PARTS = 'data_parts_sha256'  # in config.json; runs saved before have data_sha256 alone, the first ones not even that


def data_folder(settings):
    return Path(settings.data_dir) / settings.data


def core_digests(dataset, folder):
    """Checksums of the interactions, and of the original ids of users and items (None where numbers stand for them)."""
    ids = {side: ids_sha256(load_ids(folder, side, size)) if (folder / f'{side}.csv').is_file() else None
           for side, size in zip(SIDES, dataset.train.shape, strict=True)}
    return {'interactions': interactions_sha256([getattr(dataset, split) for split in SPLITS]), **ids}


def data_parts(dataset, folder):
    """For config.json: `core_digests`, and a checksum of each modality's features."""
    return {**core_digests(dataset, folder),
            'features': {name: features_sha256(table) for name, table in dataset.features.items()}}


def differing(then, now):
    """The parts, in words, that are not the same in two `data_parts`."""
    told = ['interactions'] if then['interactions'] != now['interactions'] else []
    told += [f'ids of {side} ({side}.csv{_only_once(then[side], now[side])})' for side in SIDES
             if then[side] != now[side]]
    names = [*then['features'], *(name for name in now['features'] if name not in then['features'])]
    return told + [f'{name} features' for name in names if then['features'].get(name) != now['features'].get(name)]


def _only_once(then, now):
    return ' was not there then' if then is None else ' is not there now' if now is None else ''


def changes(then, now):
    """The parts of the data, in words, that differ between two config.json of a run; then: it may be an older one."""
    if PARTS in then:
        return differing(then[PARTS], now[PARTS])
    if then['data_sha256'] != now['data_sha256']:
        return ['interactions or features']
    if any(now[PARTS][side] for side in SIDES):
        log('the run was saved before runs recorded ids: whether users.csv and items.csv are the same cannot be told')
    return []


def require_data_of_run(config, settings, dataset, run):
    """InputError unless the folder of the settings holds what the run (its config.json) was trained on.

    dataset: of that folder, its features not read: those that the run had are read here, one at a time. Of what an
    older run did not record, that it cannot be compared is logged.
    """
    folder, then = data_folder(settings), config['dataset']
    if (then['users'], then['items']) != dataset.train.shape:
        raise InputError(f'The run has {then["users"]:,} users and {then["items"]:,} items, but {dataset.name} has '
                         f'{dataset.n_users:,} and {dataset.n_items:,}: {ADVICE}')
    if PARTS not in config and 'data_sha256' not in config:
        log(f'{run} was saved before runs recorded their data: only the numbers of users and items could be compared')
        return
    files = feature_files(folder)
    if PARTS in config:
        now = {PARTS: {**core_digests(dataset, folder),
                       'features': {name: features_sha256(load_features(files[name], dataset.n_items))
                                    for name in config[PARTS]['features'] if name in files}}}
    else:
        known = tuple(name for name in then['modalities'] if name in files)
        now = {PARTS: core_digests(dataset, folder),
               'data_sha256': load_dataset(settings.data_dir, settings.data, known).sha256()}
    if told := changes(config, now):
        raise InputError(f'The data set in {folder} is not the one that the run in {run} was trained on: it has '
                         f'other {", ".join(told)}; {ADVICE}')
