"""Test Recall by epoch of our runs beside the released program's, on the same files with the same settings.

    python figures/curves.py [RUN ...]     default: every run below results/tiktok/cl0-d64

Reads each run's metrics.csv; writes curves.png, and the table behind it as curves.csv and curves.md. The released
program's figures are those of released_tiktok*.csv: its first public revision, run with the command that `RERUN`
gives, the audio features in the place of the text features that are not to be had.
"""
import csv
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


def summary(name, recall_by_run):
    """One row of the table: epoch 0 and the best of the first epochs, mean and deviation over runs."""
    first = [recall[0] for recall in recall_by_run]
    best = [max(recall[:FIRST]) for recall in recall_by_run]
    return row(name, first, best)


def row(name, first, best):
    def spread(values):
        return round(stdev(values), 4) if len(values) > 1 else ''

    return {'program': name, 'runs': len(first), 'epoch 0': round(mean(first), 4), 'epoch 0, deviation': spread(first),
            f'best of {FIRST} epochs': round(mean(best), 4), f'best of {FIRST} epochs, deviation': spread(best)}


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
    runs = [read(path / 'metrics.csv') for path in paths if (path / 'result.json').is_file()]
    runs = [run for run in runs if len(run) >= FIRST]
    if not runs:
        print(f'figures/curves.py: no finished run of {FIRST} or more epochs in {DEFAULT_RUNS}. '
              f'Make one with:\n  {RERUN}', file=sys.stderr)
        return 2
    seeds = read(FIGURES / 'released_tiktok_seeds.csv')
    table = [summary('this repository', [[epoch['test_recall'] for epoch in run] for run in runs]),
             row('released program', [seed['epoch_0'] for seed in seeds], [seed['best_of_10'] for seed in seeds])]
    write_csv(FIGURES / 'curves.csv', table)
    text = write_markdown('curves', table)
    draw(runs, read(FIGURES / 'released_tiktok.csv'))
    print(text)
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
