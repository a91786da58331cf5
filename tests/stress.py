"""Ten million interactions: python tests/stress.py [--users N] [--items N] [--interactions N] [-- flags of Main.py]

Makes a random data set in a temporary folder, trains on it by Main.py, and prints the seconds of each epoch and the
most memory that the process had. Not a test: it has nothing to pass.
"""
import argparse
import csv
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import scipy.sparse as sp

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from Datasets.folders import save_dataset

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ('--latdim 16 --dims 64 --batch 131072 --tstBat 4096 --epoch 2 --cl_method 1 --cl_sample 1024 '
         '--checkpoint_every 1')
WITHHELD = {'valMat': 100_000, 'tstMat': 100_000}


def make_dataset(folder, n_users, n_items, n_interactions, rng):
    """Items by a long-tailed popularity, users alike; two modalities of 32 columns."""
    total = n_interactions + sum(WITHHELD.values())
    popularity = 1 / np.arange(10, n_items + 10) ** 0.5
    keys = np.empty(0, np.int64)
    while len(keys) < total:  # pairs that were drawn before do not count
        users = rng.integers(n_users, size=total)
        items = rng.choice(n_items, total, p=popularity / popularity.sum())
        keys = np.unique(np.concatenate([keys, users * n_items + items]))
    keys = rng.permutation(keys)[:total]
    matrices, start = {}, 0
    for stem, size in {**WITHHELD, 'trnMat': n_interactions}.items():
        users, items = np.divmod(keys[start:start + size], n_items)
        matrices[stem] = sp.coo_matrix((np.ones(size, np.float32), (users, items)), (n_users, n_items))
        start += size
    folder.mkdir(parents=True)
    save_dataset(folder, matrices, {name: rng.normal(size=(n_items, 32)).astype(np.float16)
                                    for name in ('image', 'text')})


def main(argv=None):
    parser = argparse.ArgumentParser(prog='stress.py', description=__doc__.split('\n')[0])
    parser.add_argument('--users', type=int, default=400_000)
    parser.add_argument('--items', type=int, default=2_000)
    parser.add_argument('--interactions', type=int, default=10_000_000)
    parser.add_argument('flags', nargs='*', default=FLAGS.split(), help='flags of Main.py, after --')
    settings = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        make_dataset(Path(folder) / 'data' / 'stress', settings.users, settings.items, settings.interactions,
                     np.random.default_rng(0))
        command = [sys.executable, 'Main.py', '--data', 'stress', '--data_dir', f'{folder}/data', '--out',
                   f'{folder}/run', *settings.flags]
        code = subprocess.run(command, cwd=ROOT).returncode
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        print(f'exit code {code}; at most {memory:.2f} GiB of memory')
        if not code:
            with open(f'{folder}/run/metrics.csv', newline='') as file:
                print('seconds by epoch:', ', '.join(row['seconds'] for row in csv.DictReader(file)))
    return code


if __name__ == '__main__':
    sys.exit(main())
