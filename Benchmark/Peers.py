"""What other libraries take for the same work, where they are installed: `python -m Benchmark --peers`.

Each piece of work is a function (shape, matrices) that sets it up and returns what is timed; nothing here is needed by
the suite. Features play no part. d = 64, batches of 2,048, two layers, the threads torch has.
"""
import contextlib
import sys
import tempfile
import time
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch

from Baselines.ials import IALS
from Baselines.lightgcn import LightGCN
from Benchmark.Stages import matrices_of
from DataHandler import Dataset, UserRows
from Params import parse
from Runs.Training import Training
from Utils.Metrics import evaluate

FLAGS = '--latdim 64 --batch 2048 --gnn_layer 2 --reg 0.01 --alpha 0.1 --device cpu'
TRIES = 3


def in_training(model, matrices):
    dataset = Dataset('peers', features={}, **matrices)
    return Training(model, parse(FLAGS.split()), dataset, UserRows(dataset.train))


def ials_sweep(shape, matrices):
    """Users and items once, and the objective."""
    training = in_training(IALS, matrices)
    return lambda: training.train_epoch(lambda: None)


def implicit_sweep(shape, matrices):
    """The library's exact solver (use_cg off), in float32, users and items once."""
    from implicit.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    weighted = (matrices['train'] * 10).astype(np.float32)
    times = []
    with threadpool_limits(1, 'blas'):  # as the library asks: its own threads go over the rows
        model = AlternatingLeastSquares(factors=64, use_cg=False, iterations=TRIES + 1,
                                        num_threads=torch.get_num_threads())
        model.fit(weighted, show_progress=False, callback=lambda number, seconds, *_: times.append(seconds))
    return min(times)


def lightgcn_epoch(shape, matrices):
    training = in_training(LightGCN, matrices)
    return lambda: training.train_epoch(lambda: None)


def full_ranking(shape, matrices):
    """Of all items for every user with test items, and the metrics."""
    training = in_training(LightGCN, matrices)
    train, test = UserRows(matrices['train']), {'test': UserRows(matrices['test'])}
    return lambda: evaluate(training.model.scores(), train, test, 20, 256)


def recbole_trainer(shape, matrices, folder):
    """(its trainer, training data, test data) of its LightGCN on the same splits."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.model.general_recommender import LightGCN
    from recbole.trainer import Trainer

    (Path(folder) / 'peers').mkdir()
    for split, matrix in matrices.items():
        users, items = matrix.nonzero()
        lines = ['user_id:token\titem_id:token', *(f'{pair[0]}\t{pair[1]}' for pair in zip(users, items, strict=True))]
        (Path(folder) / 'peers' / f'peers.{split}.inter').write_text('\n'.join(lines) + '\n')
    sys.argv = sys.argv[:1]  # it reads the command line
    config = Config('LightGCN', 'peers', config_dict={
        'data_path': folder, 'benchmark_filename': list(matrices), 'USER_ID_FIELD': 'user_id',
        'ITEM_ID_FIELD': 'item_id', 'load_col': {'inter': ['user_id', 'item_id']}, 'embedding_size': 64, 'n_layers': 2,
        'train_batch_size': 2048, 'eval_batch_size': 256 * shape.items, 'use_gpu': False, 'show_progress': False,
        'topk': 20, 'metrics': ['Recall', 'NDCG', 'Precision'], 'valid_metric': 'Recall@20', 'checkpoint_dir': folder,
        'eval_args': {'group_by': 'user', 'order': 'RO', 'mode': 'full'}})
    training, _, test = data_preparation(config, create_dataset(config))
    return Trainer(config, LightGCN(config, training.dataset)), training, test


@contextlib.contextmanager
def scratch():
    """A folder of its own, where the library leaves its logs, too."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        yield folder


def recbole_epoch(shape, matrices):
    with scratch() as folder:
        trainer, training, _ = recbole_trainer(shape, matrices, folder)
    return lambda: trainer._train_epoch(training, 0)


def recbole_ranking(shape, matrices):
    with scratch() as folder:
        trainer, _, test = recbole_trainer(shape, matrices, folder)
    return lambda: trainer.evaluate(test, load_best_model=False)


WORK = {  # name: (package, its form, ours)
    'iALS sweep': ('implicit', implicit_sweep, ials_sweep),
    'LightGCN epoch': ('recbole', recbole_epoch, lightgcn_epoch),
    'full ranking': ('recbole', recbole_ranking, full_ranking)}


def seconds_of(function, shape, data_dir):
    """The best of several tries. What a library warns of is its own affair."""
    warnings.simplefilter('ignore')
    run = function(shape, matrices_of(shape, data_dir))
    if not callable(run):  # timed by itself
        return run
    times = []
    for _ in range(TRIES):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def installed(package):
    """Its version, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def peer_row(name, shape, data_dir, in_process):
    """The times of a piece of work; with a note in place of the peer's where it is not installed or fails."""
    package, theirs, ours = WORK[name]
    found = installed(package)
    row = {'work': name, 'shape': shape.name, 'peer': f'{package} {found}' if found else package,
           'ours_s': in_process(seconds_of, ours, shape, data_dir)}
    if not found:
        return row | {'note': f'not installed: pip install {package}'}
    try:
        seconds = in_process(seconds_of, theirs, shape, data_dir)
    except Exception as error:  # of a library that does not go with others installed here
        return row | {'note': f'does not run here: {type(error).__name__}: {str(error).splitlines()[0][:80]}'}
    if isinstance(seconds, MemoryError):
        return row | {'note': 'ran out of memory'}
    return row | {'peer_s': seconds, 'ratio': seconds / row['ours_s']}
