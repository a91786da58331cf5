"""Data sets that are generated at first use, in the files of any other data set."""
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from Datasets.folders import new_folder, save_dataset
from Utils.Errors import InputError
from Utils.TimeLogger import log

N_USERS, N_ITEMS = 1000, 800
SEED = 20260101
WIDTHS = {'image': 64, 'text': 48, 'audio': 32}
N_TOPICS = 24  # what items are about and users like, a third of it told by each modality


def demo_dataset():
    """Interactions and features with planted structure: (three matrices by split, features by modality).

    Every item belongs to a few topics and every user likes a few; each topic shows in one modality only, so
    that no modality alone tells a user's taste. Popularity is long-tailed (Zipf), a tenth of the interactions
    follow popularity alone, and the features carry noise. Splits 8:1:1 at random within each user.
    """
    rng = np.random.default_rng(SEED)
    item_topics = np.zeros((N_ITEMS, N_TOPICS))
    for item in item_topics:
        item[rng.choice(N_TOPICS, 3, replace=False)] = rng.uniform(0.5, 1, 3)
    user_topics = np.zeros((N_USERS, N_TOPICS))
    for user in user_topics:
        user[rng.choice(N_TOPICS, 3, replace=False)] = rng.uniform(0.5, 1, 3)
    popularity = rng.permutation(1 / np.arange(5, N_ITEMS + 5) ** 0.6)
    popularity /= popularity.sum()

    splits = {name: ([], []) for name in ('trnMat', 'valMat', 'tstMat')}
    for user, liking in enumerate(np.exp(5 * user_topics @ item_topics.T)):
        taste = liking * popularity
        chances = 0.9 * taste / taste.sum() + 0.1 * popularity
        items = rng.choice(N_ITEMS, int(rng.integers(10, 31)), replace=False, p=chances)
        withheld = max(1, len(items) // 10)
        for name, part in zip(splits, np.split(items, [len(items) - 2 * withheld, len(items) - withheld]), strict=True):
            splits[name][0].extend([user] * len(part))
            splits[name][1].extend(part)
    matrices = {name: sp.coo_matrix((np.ones(len(users), np.float32), (users, items)), (N_USERS, N_ITEMS))
                for name, (users, items) in splits.items()}

    features = {}
    for number, (modality, width) in enumerate(WIDTHS.items()):
        shown = item_topics[:, number::len(WIDTHS)]
        signal = shown @ rng.normal(size=(shown.shape[1], width))
        features[modality] = (signal + 0.3 * rng.normal(size=signal.shape)).astype(np.float16)
    return matrices, features


GENERATED = {'demo': demo_dataset}


def ensure_generated(data_dir, name):
    """Write the data set `data_dir`/`name` if it is one of `GENERATED` and not there yet; whole or not at all."""
    folder = Path(data_dir) / name
    if name not in GENERATED or folder.exists():
        return
    if not Path(data_dir).is_dir():
        raise InputError(f'There is no folder {data_dir} to generate the data set {name} in: make it, or give another '
                         'one with --data_dir.')
    log(f'generating the data set {folder}')
    matrices, features = GENERATED[name]()
    try:
        with new_folder(folder) as partial:
            save_dataset(partial, matrices, features)
    except OSError as error:
        if not folder.is_dir():  # otherwise another process made it meanwhile, the same to the byte
            raise InputError(f'The data set {name} cannot be written to {data_dir} ({error.strerror}): give a folder '
                             'that can be written to with --data_dir.') from error
