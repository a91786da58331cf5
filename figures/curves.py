"""Losses and metrics by epoch, of any runs: python figures/curves.py [--runs RUN ...]

    --run --data_dir DIR [--seeds S ...]    make the default runs that are missing

Runs that differ in their seed alone make one curve: the mean, and the range as a band. Writes curves.png, and test
Recall at some epochs as curves.csv and curves.md. Without --runs: the runs of `DEFAULT` in results/tiktok, beside the
released program on the same files with the same settings (released_tiktok*.csv: its first public revision, cl_method 0,
the audio features in the place of the text features that are not to be had).
"""
import csv
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from Experiments.SavedRuns import by_settings, find_runs
from Experiments.Tables import FIGURES, spread
from figures.runs import (
    BASE,
    MULTI_LEVEL,
    command_line,
    given_runs,
    jobs_of,
    labels,
    none_there,
    provide,
    read_command_line,
    write_tables,
)
from figures.style import BLACK, COLOURS, save
from Utils.Command import run_command
from Utils.Errors import InputError

NAME = 'curves'
ROOT = Path('results/tiktok')
DEFAULT = {'cl0-d64': f'{BASE} --cl_method 0 --epoch 30', 'ablation/full': f'{BASE} {MULTI_LEVEL} --epoch 10'}
FIRST = 10  # epochs over which the released program's best is known for every seed
METRICS = {'test_recall': 'test Recall@20', 'val_recall': 'validation Recall@20', 'test_ndcg': 'test NDCG@20'}
LOSSES = {'bpr': 'BPR', 'cl': 'contrastive loss', 'reg': 'weight decay'}  # others by their names in metrics.csv
NO_LOSSES = ('epoch', 'seconds', *(f'{split}_{name}' for split in ('val', 'test')
                                   for name in ('recall', 'ndcg', 'precision')))
COLUMNS = 4
LOG_FROM = 30  # largest over smallest value from which a loss is drawn on a logarithmic scale


def released(name):
    with open(FIGURES / name, newline='') as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def row(name, seeds, first, best, best_on_test=(), chosen_on_val=()):
    return {'test Recall@20 of': name, 'seeds': seeds, 'epoch 0': spread(first),
            f'best of the first {FIRST} epochs': spread(best), 'best epoch': spread(best_on_test),
            'epoch of the best validation Recall': spread(chosen_on_val)}


def row_of(label, runs):
    recall = [{int(epoch['epoch']): epoch['test_recall'] for epoch in run.epochs} for run in runs]
    chosen = [run.test('val') for run in runs]
    lengths = sorted({run.n_epochs for run in runs})
    return row(f'{label} ({"/".join(map(str, lengths))} epochs)', len(runs), [values[0] for values in recall],
               [max(value for epoch, value in values.items() if epoch < FIRST) for values in recall],
               [run.test('test')['recall'] for run in runs], [metrics['recall'] for metrics in chosen if metrics])


def draw(groups, names, reference, path):
    columns = list(dict.fromkeys(column for group in groups for run in group for column in run.epochs[0]))
    shown = {**METRICS, **LOSSES, **{column: column.replace('_', ' loss, ', 1) for column in columns
                                     if column not in (*NO_LOSSES, *LOSSES)}}
    shown = {column: label for column, label in shown.items() if column in columns}
    rows = -(-len(shown) // COLUMNS)
    figure, panels = plt.subplots(rows, COLUMNS, figsize=(10, 2.3 * rows + 0.3), sharex=True)
    panels = panels.ravel()
    for panel, (column, label) in zip(panels, shown.items(), strict=False):
        everything = []
        for colour, group in zip(COLOURS, groups, strict=False):
            having = [run.epochs for run in group if column in run.epochs[0]]
            length = min(map(len, having), default=0)
            values = np.array([[epoch[column] for epoch in epochs[:length]] for epochs in having])
            if length:
                at = [epoch['epoch'] for epoch in having[0][:length]]
                panel.fill_between(at, values.min(0), values.max(0), color=colour, alpha=0.25, lw=0)
                panel.plot(at, values.mean(0), color=colour)
                everything += values.ravel().tolist()
        if column == 'test_recall':
            panel.plot([point['epoch'] for point in reference], [point[column] for point in reference], color=BLACK,
                       ls='--', marker='.', lw=1)
        if column not in METRICS and min(everything) > 0 and max(everything) > LOG_FROM * min(everything):
            panel.set_yscale('log')
        panel.set_title(label)
        panel.xaxis.get_major_locator().set_params(integer=True)
    handles = [plt.Line2D([], [], color=colour, label=f'{name} (mean and range of {len(group)})'
                          if len(group) > 1 else f'{name} (one seed)')
               for colour, name, group in zip(COLOURS, names, groups, strict=False)]
    if reference:
        handles.append(plt.Line2D([], [], color=BLACK, ls='--', marker='.', lw=1, label='released program (seed 421)'))
    for panel in panels[len(shown):]:
        panel.set_axis_off()
    for place in range(COLUMNS):  # the lowest panel that is used has the label and the ticks
        lowest = panels[max(range(place, len(shown), COLUMNS))]
        lowest.set_xlabel('epoch')
        lowest.tick_params(labelbottom=True)
    figure.legend(handles=handles, loc='upper center', ncol=3, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.3 / figure.get_size_inches()[1]))
    save(figure, path)


def default_runs(options, flags):
    provide(jobs_of(DEFAULT, options, flags), NAME, options)
    found = [run for name in DEFAULT for run in find_runs(options.root, name)]
    if not found:
        raise none_there(NAME, ' or '.join(str(options.root / name) for name in DEFAULT))
    return found


def main(argv=None):
    options, flags = read_command_line(command_line(NAME, __doc__, ROOT, seeds=(421, 1, 2), runs=True), argv)
    groups = by_settings(given_runs(options.runs) if options.runs else default_runs(options, flags))
    if len(groups) > len(COLOURS):
        raise InputError(f'The runs have {len(groups)} different settings, and {len(COLOURS)} colours can be told '
                         'apart: give fewer.')
    names = labels(groups)
    rows = [row_of(name, group) for name, group in zip(names, groups, strict=True)]
    reference = []
    if not options.runs:
        reference, seeds = released('released_tiktok.csv'), released('released_tiktok_seeds.csv')
        rows.append(row('released program, cl_method 0', len(seeds), [seed['epoch_0'] for seed in seeds],
                        [seed['best_of_10'] for seed in seeds]))
    write_tables(NAME, rows, options)
    draw(groups, names, reference, options.to / f'{NAME}.png')


if __name__ == '__main__':
    sys.exit(run_command(f'figures/{NAME}.py', main))
