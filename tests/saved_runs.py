"""Run folders with known numbers, and the tables made of them."""
import csv
import json
import shlex
from dataclasses import asdict

import numpy as np

from Experiments.Jobs import settings_by
from Experiments.Tables import write_csv


def save_run(folder, flags, seed, recalls, users=None, dataset='tiktok'):
    """A run folder as Main.py leaves it. recalls: test Recall per epoch, of which validation chooses the last but one;
    users: each one's Recall there."""
    settings = asdict(settings_by(('--data', dataset, *shlex.split(flags), '--seed', str(seed))))
    config = {'settings': settings, 'seed': seed, 'dataset': {'modalities': {'image': 4, 'audio': 4}}}
    chosen = max(0, len(recalls) - 2)

    def metrics(recall):
        return {'recall': recall, 'ndcg': recall / 2, 'precision': recall / 20}

    folder.mkdir(parents=True)
    (folder / 'config.json').write_text(json.dumps(config))
    write_csv(folder / 'metrics.csv', [
        {'epoch': epoch, 'bpr': 1 / (epoch + 1), 'cl': 0.5, 'diffusion_image': 10.0 ** -epoch,
         **{f'{split}_{name}': value for split in ('val', 'test') for name, value in metrics(recall).items()},
         'seconds': 1} for epoch, recall in enumerate(recalls)])
    (folder / 'result.json').write_text(json.dumps({
        'dataset': dataset, 'config': config, 'seconds': 1,
        'best_test': {'epoch': int(np.argmax(recalls)), **metrics(max(recalls))},
        'best_val': {'epoch': chosen, 'val': metrics(0.5), 'test': metrics(recalls[chosen])}}))
    if users is not None:
        ids, values = users
        np.savez(folder / 'per_user.npz', users=ids, best_val_recall=values, best_test_recall=values)
    return folder


def rows_of(path):
    with open(path, newline='') as file:
        return list(csv.DictReader(file))
