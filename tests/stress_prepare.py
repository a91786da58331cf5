"""prepare.py on a large file, its time and memory: python tests/stress_prepare.py [--interactions 10000000]

Writes a CSV of random interactions (text ids, a rating and a time each; a tenth as many users, a fortieth as many
items, of which few are popular) into a temporary folder, prepares it with --kcore 5 in a process of its own, and prints
the seconds, the processor time and the largest memory of that process.
"""
import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

PREPARE = Path(__file__).resolve().parent.parent / 'Datasets' / 'prepare.py'


def write_interactions(path, total, rng):
    n_users, n_items = total // 10, total // 40
    users = [f'A{number:012X}' for number in rng.permutation(n_users) * 7919]
    items = [f'B{number:08X}' for number in rng.permutation(n_items) * 104729]
    popular = (rng.pareto(1.2, total) * n_items / 100).astype(np.int64) % n_items
    table = pa.table({'user_id': pa.array(users).take(pa.array(rng.integers(n_users, size=total))),
                      'item_id': pa.array(items).take(pa.array(popular)), 'rating': rng.integers(1, 6, total),
                      'timestamp': rng.integers(1_000_000_000, 1_600_000_000, total)})
    pa.csv.write_csv(table, path, pa.csv.WriteOptions(quoting_style='none'))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--interactions', type=int, default=10**7)
    parser.add_argument('flags', nargs='*', help='more flags of prepare.py, after --')
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / 'clicks.csv'
        write_interactions(source, arguments.interactions, np.random.default_rng(0))
        print(f'{source.stat().st_size / 1e6:,.0f} MB; load of the machine {os.getloadavg()[0]:.1f}', flush=True)
        start = time.perf_counter()
        code = subprocess.run([sys.executable, PREPARE, source, '--name', 'large', '--data_dir', name, '--kcore', '5',
                               *arguments.flags], check=False).returncode
        seconds, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f'exit code {code}; {seconds:.1f} s, processor {used.ru_utime:.1f} s + {used.ru_stime:.1f} s of the system, '
          f'largest memory {used.ru_maxrss / 1e6:.2f} GB; load {os.getloadavg()[0]:.1f}')
    return code


if __name__ == '__main__':
    sys.exit(main())
