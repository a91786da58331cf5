"""Test Recall by epoch of our runs beside the released program's, on the same files with the same settings.

    python figures/curves.py [RUN ...]     default: every run below results/tiktok/cl0-d64

Reads each run's metrics.csv; writes curves.png, and the table behind it as curves.csv and curves.md. The released
program's figures are those of released_tiktok*.csv: its first public revision, run with the command that `RERUN`
gives, the audio features in the place of the text features that are not to be had.
"""
import csv
import json
import sys
from pathlib import Path
from statistics import mean, stdev

import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from Utils.Tables import FIGURES, ROOT, write_csv, write_markdown

DEFAULT_RUNS = ROOT / 'results' / 'tiktok' / 'cl0-d64'
RERUN = ('python Main.py --data tiktok --data_dir DIR --reg 1e-4 --ssl_reg 1e-2 --epoch 30 --trans 1 --e_loss 0.1 '
         '--cl_method 0 --latdim 64 --gnn_layer 1 --temp 0.5 --steps 5 --seed 421 --out results/tiktok/cl0-d64/seed421')
BLUE, ORANGE, GREY = '#0072B2', '#D55E00', '#777777'  # told apart by colour-blind eyes, on white and on black
FIRST = 10  # epochs over which the released program's best is known for every seed


def read(path):
    with open(path, newline='') as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def spread(values):
    """Mean and, of several values, standard deviation."""
    if not values:
        return ''
    return f'{mean(values):.4f}' + (f' ± {stdev(values):.4f}' if len(values) > 1 else '')


def row(name, seeds, first, best, best_on_test=(), chosen_on_val=()):
    return {'test Recall@20 of': name, 'seeds': seeds, 'epoch 0': spread(first),
            f'best of the first {FIRST} epochs': spread(best), 'best epoch': spread(best_on_test),
            'epoch of the best validation Recall': spread(chosen_on_val)}


def draw(runs, released):
    figure, axes = plt.subplots(figsize=(7, 4))
    for colour, column, label in ((BLUE, 'test_recall', 'ours, test'), (GREY, 'val_recall', 'ours, validation')):
        shared = range(min(len(run) for run in runs))
        values = [[run[epoch][column] for run in runs] for epoch in shared]
        axes.fill_between(shared, [min(v) for v in values], [max(v) for v in values], color=colour, alpha=0.2, lw=0)
        axes.plot(shared, [mean(v) for v in values], color=colour, label=f'{label} (mean, range of {len(runs)} runs)')
    axes.plot([point['epoch'] for point in released], [point['test_recall'] for point in released], color=ORANGE,
              ls='--', marker='.', label='released program, test (seed 421)')
    axes.set(xlabel='epoch', ylabel='Recall@20', title='TikTok, image and audio, d = 64, cl_method 0')
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend(loc='lower right')
    figure.tight_layout()
    figure.savefig(FIGURES / 'curves.png', dpi=150, facecolor='white')


def main(paths):
    paths = [Path(path) for path in paths] or sorted(DEFAULT_RUNS.glob('*'))
    paths = [path for path in paths if (path / 'result.json').is_file() and len(read(path / 'metrics.csv')) >= FIRST]
    if not paths:
        print(f'figures/curves.py: no finished run of {FIRST} or more epochs in {DEFAULT_RUNS}. '
              f'Make one with:\n  {RERUN}', file=sys.stderr)
        return 2
    runs = [read(path / 'metrics.csv') for path in paths]
    results = [json.loads((path / 'result.json').read_text()) for path in paths]
    recall = [[epoch['test_recall'] for epoch in run] for run in runs]
    lengths = {len(run) for run in runs}
    seeds = read(FIGURES / 'released_tiktok_seeds.csv')
    table = [row(f'this repository ({"/".join(map(str, sorted(lengths)))} epochs)', len(runs),
                 [values[0] for values in recall], [max(values[:FIRST]) for values in recall],
                 [result['best_test']['recall'] for result in results],
                 [result['best_val']['test']['recall'] for result in results]),
             row('released program', len(seeds), [seed['epoch_0'] for seed in seeds],
                 [seed['best_of_10'] for seed in seeds])]
    write_csv(FIGURES / 'curves.csv', table)
    print(write_markdown('curves', table))
    draw(runs, read(FIGURES / 'released_tiktok.csv'))
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
