"""Each user's best items as a file: CSV, or a TREC run file that other evaluators read."""
import csv
import json
import os
from pathlib import Path

import numpy as np
import torch

from DataHandler import UserRows, load_dataset, load_ids
from Params import parse
from Runs.Identity import require_data_of_run
from Utils.Device import choose_device
from Utils.Errors import InputError
from Utils.Metrics import DotScores, rank_items
from Utils.TimeLogger import log

FROM_RUN = ('model', 'data', 'data_dir', 'topk', 'tstBat')  # what --load takes from the run unless it is given


def read_run(run):
    """(config.json of a run, of its settings those of FROM_RUN)."""
    path = Path(run) / 'config.json'
    try:
        config = json.loads(path.read_text())
        taken = {name: config['settings'][name] for name in FROM_RUN}
        if any(type(value) is not kind or (kind is int and value < 1)
               for value, kind in zip(taken.values(), (str, str, str, int, int), strict=True)):
            raise ValueError
        if not {'users', 'items', 'modalities'} <= set(config['dataset']):
            raise ValueError
        return config, taken
    except OSError as error:
        raise InputError(f'{path} cannot be read ({error.strerror}): --load expects the folder of a run.') from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a run's config.json: it is damaged, or of another program.") from error


def check_target(path):
    """To be called before the work: whether the recommendations can be written there."""
    folder = Path(path).parent
    if not folder.is_dir() or (Path(path).exists() and not Path(path).is_file()):
        raise InputError(f'--recommend {path}: expected a file in a folder that is there.')
    if not os.access(folder, os.W_OK, effective_ids=True):
        raise InputError(f'--recommend {path}: the folder {folder} cannot be written to, give a file in another one.')


def ids_for(settings, dataset):
    """(user ids, item ids) to write to `settings.recommend`; InputError where they cannot be read or written there."""
    ids = tuple(load_ids(Path(settings.data_dir) / settings.data, side, size)
                for side, size in zip(('users', 'items'), dataset.train.shape, strict=True))
    if is_trec(settings.recommend) and any(any(map(str.isspace, name)) for names in ids for name in names):
        raise InputError(f'{dataset.name} has ids with spaces in them, which a TREC file cannot hold: write a .csv.')
    return ids


def require_as_many(flag, settings, dataset):
    """InputError where the flag, a number of items, is more than the data set has."""
    if getattr(settings, flag) > dataset.n_items:
        raise InputError(f'--{flag} {getattr(settings, flag)} is more than the {dataset.n_items} items of '
                         f'{dataset.name}: lower it.')


def is_trec(path):
    return Path(path).suffix == '.trec'


def load_scores(run, device):
    """The scoring function that a run saved."""
    path = Path(run) / 'embeddings.npz'
    try:
        with open(path, 'rb') as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise InputError(f'{path} is not there: the run saved no embeddings, or they were not kept with it. '
                         'Train again with --recommend.') from error
    except Exception as error:  # zip and numpy each have several kinds of failure for a damaged file
        raise InputError(f'{path} is not a readable file of embeddings ({type(error).__name__}): train '
                         'again.') from error
    names = [name.removesuffix('_users') for name in arrays if name.endswith('_users')]
    pairs = {name: (arrays[f'{name}_users'], arrays.get(f'{name}_items')) for name in names}
    if not pairs or any(items is None or users.dtype != np.float32 or items.dtype != np.float32 or users.ndim != 2
                        or items.ndim != 2 or users.shape[1] != items.shape[1] for users, items in pairs.values()):
        raise InputError(f'{path} does not hold the embeddings of users and items: train again.')
    return DotScores({name: tuple(torch.as_tensor(table, device=device) for table in pair)
                      for name, pair in pairs.items()})


def recommend(score, dataset, settings, device):
    """Write every user's `topk` items that are not in her training data, best first, to `settings.recommend`.

    score: users (B,) -> scores of all items (B, I).
    """
    sizes = (len(score.users), len(score.items)) if isinstance(score, DotScores) else dataset.train.shape
    if sizes != dataset.train.shape:
        raise InputError(f'embeddings.npz of the run has {sizes[0]:,} users and {sizes[1]:,} items, but {dataset.name} '
                         f'has {dataset.n_users:,} and {dataset.n_items:,}: it is of another run; train again.')
    user_ids, item_ids = ids_for(settings, dataset)
    path, trec = Path(settings.recommend), is_trec(settings.recommend)
    partial = path.with_name(f'.{path.name}.partial')
    try:
        with open(partial, 'w', newline='', encoding='utf-8') as file:
            writer = csv.writer(file, lineterminator='\n')
            if not trec:
                writer.writerow(('user', 'rank', 'item', 'score'))
            for user, rank, item, value in ranked(score, dataset, settings, device):
                if trec:
                    file.write(f'{user_ids[user]} Q0 {item_ids[item]} {rank} {value} {settings.model}\n')
                else:
                    writer.writerow((user_ids[user], rank, item_ids[item], value))
        partial.replace(path)
        log(f'recommendations of {settings.topk} items for {dataset.n_users:,} users in {path}')
    finally:
        partial.unlink(missing_ok=True)


@torch.no_grad()
def ranked(score, dataset, settings, device):
    """(user, rank from 1, item, score) of each recommendation, by user and rank."""
    train = UserRows(dataset.train, device)
    for users in torch.arange(dataset.n_users, device=device).split(settings.tstBat):
        scores = score(users)
        top = rank_items(scores, train.batch(users).positions, settings.topk)
        values = scores.gather(1, top.clamp(min=0))
        for user, items, row in zip(users.tolist(), top.tolist(), values.tolist(), strict=True):
            yield from ((user, rank, item, f'{value:.9g}')
                        for rank, (item, value) in enumerate(zip(items, row, strict=True), 1) if item >= 0)


def recommend_from(run_path, argv):
    """Recommendations from the embeddings of a run; nothing is trained."""
    config, taken = read_run(run_path)
    settings = parse(argv, taken)
    dataset = load_dataset(settings.data_dir, settings.data, modalities=())  # features are compared, not used
    require_data_of_run(config, settings, dataset, run_path)
    require_as_many('topk', settings, dataset)
    device = choose_device(settings.device, settings.gpu)
    recommend(load_scores(run_path, device), dataset, settings, device)
