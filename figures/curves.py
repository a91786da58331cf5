"""Losses and metrics by epoch, of any runs: python figures/curves.py [--runs RUN ...]

    --run --data_dir DIR [--seeds S ...]    make the default runs that are missing

Runs that differ in their seed alone make one curve: the mean, and the range as a band. Writes curves.png, and test
Recall at some epochs as curves.csv and curves.md. Without --runs: the runs of `DEFAULT` in results/tiktok, beside the
released program on the same files with the same settings (released_tiktok*.csv: its first public revision, cl_method 0,
the audio features in the place of the text features that are not to be had), and released.csv and .md: a two-sided test
of our seeds against the program's at each epoch that is known of several of its seeds.
"""
import csv
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import ttest_ind

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from Experiments.SavedRuns import by_settings, find_runs, given_runs
from Experiments.Statistics import holm
from Experiments.Tables import FIGURES, spread
from Experiments.Words import labels
from figures.runs import (
    BASE,
    MULTI_LEVEL,
    command_line,
    jobs_of,
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
FIRST = 10  # epochs over which the released program's best is known for several seeds
SAME = 'cl0-d64'  # the runs of DEFAULT with the released program's settings
METRICS = {'test_recall': 'test Recall@20', 'val_recall': 'validation Recall@20', 'test_ndcg': 'test NDCG@20'}
LOSSES = {'bpr': 'BPR', 'cl': 'contrastive loss', 'reg': 'weight decay'}  # others by their names in metrics.csv
NO_LOSSES = ('epoch', 'seconds', *(f'{split}_{name}' for split in ('val', 'test')
                                   for name in ('recall', 'ndcg', 'precision')))
COLUMNS = 3
LONGEST = 40  # letters of a name in the legend
LOG_FROM = 30  # largest over smallest value from which a loss is drawn on a logarithmic scale


def released(name):
    with open(FIGURES / name, newline='') as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def by_epoch(points):
    """epoch -> the seeds' values, of the points of released_tiktok.csv."""
    values = {}
    for point in points:
        values.setdefault(int(point['epoch']), []).append(point['test_recall'])
    return dict(sorted(values.items()))


def best_of_first(run):
    return max(epoch['test_recall'] for epoch in run.epochs if epoch['epoch'] < FIRST)


def tests(ours, reference, best):
    """A row per epoch that is known of several seeds of the released program, and one of the best of the first epochs:
    Welch's two-sided t-test over seeds, and its p after Holm's correction for all rows.

    ours: runs with the program's settings; reference: epoch -> its seeds' test Recall; best: its seeds' best.
    """
    pairs = {f'epoch {epoch}': ([run.epochs[epoch]['test_recall'] for run in ours], values)
             for epoch, values in reference.items() if len(values) > 1}
    pairs[f'best of the first {FIRST} epochs'] = [best_of_first(run) for run in ours], best
    p = [float(ttest_ind(*pair, equal_var=False).pvalue) for pair in pairs.values()]
    return [{'test Recall@20': name, 'released program': spread(theirs), 'its seeds': len(theirs), 'ours': spread(mine),
             'our seeds': len(mine), 'difference': f'{np.mean(mine) - np.mean(theirs):+.4f}', 'p (Welch)': f'{one:.2g}',
             'p (Holm)': f'{corrected:.2g}'}
            for (name, (mine, theirs)), one, corrected in zip(pairs.items(), p, holm(p), strict=True)]


def row(name, seeds, first, best, best_on_test=(), chosen_on_val=()):
    return {'test Recall@20 of': name, 'seeds': seeds, 'epoch 0': spread(first),
            f'best of the first {FIRST} epochs': spread(best), 'best epoch': spread(best_on_test),
            'epoch of the best validation Recall': spread(chosen_on_val)}


def row_of(label, runs):
    recall = [{int(epoch['epoch']): epoch['test_recall'] for epoch in run.epochs} for run in runs]
    chosen = [run.test('val') for run in runs]
    lengths = sorted({run.n_epochs for run in runs})
    return row(f'{label} ({"/".join(map(str, lengths))} epochs)', len(runs), [values[0] for values in recall],
               [best_of_first(run) for run in runs],
               [run.test('test')['recall'] for run in runs], [metrics['recall'] for metrics in chosen if metrics])


def panels_of(groups):
    """(column of metrics.csv, title, groups) for every panel. A loss has one for every objective: losses of the same
    name are not to be compared across models, nor the contrast across its methods."""
    columns = dict.fromkeys(column for group in groups for run in group for column in run.epochs[0])
    columns = [column for column in dict.fromkeys([*METRICS, *LOSSES, *columns])
               if column in columns and (column in METRICS or column not in NO_LOSSES)]
    for column in columns:
        title = {**METRICS, **LOSSES}.get(column, column.replace('_', ' loss, ', 1))
        having = [group for group in groups if column in group[0].epochs[0]]
        objectives = {}
        for group in having:
            objectives.setdefault(() if column in METRICS else objective(column, group[0]), []).append(group)
        for words, those in objectives.items():
            telling = ', '.join(word for word in words if any(word not in other for other in objectives))
            yield column, f'{title} ({telling})' if telling else title, those


def objective(column, run):
    """What a loss of this name measures in this run, in words."""
    model = run.settings['model']
    methods = column == 'cl' and model in ('mdmns', 'diffmm')
    return (model, f'cl_method {run.settings["cl_method"]}') if methods else (model,)


def draw_panel(panel, column, groups, colours):
    """Mean and range of each group; the values drawn."""
    everything = []
    for group in groups:
        length = min(len(run.epochs) for run in group)
        values = np.array([[epoch[column] for epoch in run.epochs[:length]] for run in group])
        at = [epoch['epoch'] for epoch in group[0].epochs[:length]]
        panel.fill_between(at, values.min(0), values.max(0), color=colours[id(group)], alpha=0.25, lw=0)
        panel.plot(at, values.mean(0), color=colours[id(group)])
        everything += values.ravel().tolist()
    return everything


def draw(groups, reference, path):
    shown = list(panels_of(groups))
    rows = -(-len(shown) // COLUMNS)
    figure, panels = plt.subplots(rows, COLUMNS, figsize=(9.4, 2.2 * rows + 0.4), sharex=True)
    panels = panels.ravel()
    colours = {id(group): colour for group, colour in zip(groups, COLOURS, strict=False)}
    for panel, (column, title, those) in zip(panels, shown, strict=False):
        values = draw_panel(panel, column, those, colours)
        if column == 'test_recall':
            for seed in dict.fromkeys(point['seed'] for point in reference):
                known = [point for point in reference if point['seed'] == seed]
                panel.plot([point['epoch'] for point in known], [point[column] for point in known], color=BLACK,
                           ls='--', marker='.', ms=3, lw=0.7)
        if column not in METRICS and min(values) > 0 and max(values) > LOG_FROM * min(values):
            panel.set_yscale('log')
        panel.set_title(title)
        panel.xaxis.get_major_locator().set_params(integer=True)
    handles = [plt.Line2D([], [], color=colours[id(group)], label=f'{name} (mean and range of {len(group)})'
                          if len(group) > 1 else f'{name} (one seed)')
               for name, group in zip(labels(groups, LONGEST), groups, strict=True)]
    if reference:
        handles.append(plt.Line2D([], [], color=BLACK, ls='--', marker='.', lw=1,
                                  label=f'released program ({len({point["seed"] for point in reference})} seeds)'))
    for panel in panels[len(shown):]:
        panel.set_axis_off()
    for place in range(min(COLUMNS, len(shown))):  # the lowest panel that is used has the label and the ticks
        lowest = panels[max(range(place, len(shown), COLUMNS))]
        lowest.set_xlabel('epoch')
        lowest.tick_params(labelbottom=True)
    figure.legend(handles=handles, loc='upper center', ncol=3, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 1 - (0.12 + 0.18 * -(-len(handles) // 3)) / figure.get_size_inches()[1]))
    save(figure, path)


def default_runs(options, flags):
    provide(jobs_of(DEFAULT, options, flags), NAME, options, flags)
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
    rows = [row_of(name, group) for name, group in zip(labels(groups), groups, strict=True)]
    reference = []
    if not options.runs:
        reference = released('released_tiktok.csv')
        best = [seed['best_of_10'] for seed in released('released_tiktok_seeds.csv')]
        known = by_epoch(reference)
        rows.append(row(f'released program, cl_method 0 ({len(best)} seeds for the best)', len(known[0]), known[0],
                        best))
        if same := find_runs(options.root, SAME):
            write_tables('released', tests(same, known, best), options)
    write_tables(NAME, rows, options)
    draw(groups, reference, options.to / f'{NAME}.png')


if __name__ == '__main__':
    sys.exit(run_command(f'figures/{NAME}.py', main))
