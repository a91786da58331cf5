"""Whether MDMNS differs from its variants and from other models, tested over users: python figures/significance.py

    --runs RUN ...                          of these, each a folder with the runs of one model in seed<S>, or a run; the
                                            first is compared with the others
    --run --data_dir DIR [--seeds S ...]    make the ablation's runs that are missing

Without --runs: results/tiktok/ablation/full beside its variants there and the baselines; and, as the table
significance_models, on each data set MDMNS, and the best model without features, beside every other model of Table II.

Test Recall@20 of every user, at the epoch chosen on validation, averaged over the seeds that both models have: the mean
difference with a confidence interval and a p-value by bootstrap over users, Wilcoxon's signed-rank test, and both p
after Holm's correction for all comparisons made. The intervals are of users, for the runs at hand: they say nothing of
other seeds. Besides, for every model: the best test Recall less that of the epoch chosen on validation. Reads
per_user.npz, without which a model has only the latter. Writes significance.png, and the tables significance and
protocols as .csv and .md.
"""
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from Experiments.SavedRuns import by_settings, find_runs, given_runs
from Experiments.Statistics import compare, holm, per_user
from Experiments.Tables import spread
from figures.ablation import EPOCHS, ROOT as ABLATION, variants
from figures.performance import model_name
from figures.runs import (
    BASE,
    command_line,
    jobs_of,
    none_there,
    provide,
    read_command_line,
    write_tables,
)
from figures.style import BLUE, GREY, VERMILION, save
from Main import MODELS
from Utils.Command import run_command
from Utils.Errors import InputError

NAME = 'significance'
LONGER = 'cl0-d64'
PUBLISHED_EPOCHS = Path('mdmns') / 'cl1-50'
LEVEL = 0.05
SEED = 421  # of the bootstrap


def folder_of(run):
    """Of a model's runs: the one that holds its seeds, or the run's own."""
    return run.folder.parent if run.folder.name.startswith('seed') else run.folder


def name_of(folder):
    """Of a folder of runs; a sweep's choice has the name of the sweep."""
    return folder.parent.name if folder.name == 'chosen' else folder.name


def models(runs, words):
    """name -> {seed: run} of the runs with validation, by folder; words: for names of folders that have any."""
    found, places = {}, {}
    for run in runs:
        if run.test('val'):
            folder = folder_of(run)
            name = words.get(name_of(folder), name_of(folder))
            if places.setdefault(name, folder) != folder:
                raise InputError(f'Two of the models are called {name}: give folders of different names.')
            found.setdefault(name, {})[run.seed] = run
    for name, group in found.items():
        if len(by_settings(group.values())) > 1:
            raise InputError(f'The runs in {places[name]} differ in more than their seed: they are not of one model.')
    return found


def kind(name, found):
    """Whether a model is the first one with other settings."""
    first, run = (next(iter(runs.values())) for runs in (next(iter(found.values())), found[name]))
    return 'variant' if run.settings['model'] == first.settings['model'] else 'other model'


def testable(found):
    """Of these models the runs that kept their figures of every user."""
    kept = {name: {seed: run for seed, run in runs.items() if (run.folder / 'per_user.npz').is_file()}
            for name, runs in found.items()}
    return {name: runs for name, runs in kept.items() if runs}


def comparison(first, second, rng):
    """Of the seeds that both have, or of all where they share none: (how many, means of both, Comparison). The one run
    of a closed form is that of every seed."""
    seeds = [set(runs) for runs in (first, second)
             if not MODELS[next(iter(runs.values())).settings['model']].closed_form]
    shared = set.intersection(*seeds or [set(first)])
    users, recalls = zip(*(per_user([run.folder for seed, run in sorted(runs.items()) if seed in shared]
                                    or [run.folder for run in runs.values()])
                           for runs in (first, second)), strict=True)
    if not np.array_equal(*users):
        raise InputError(f'{next(iter(first.values())).folder} and {next(iter(second.values())).folder} are of other '
                         'users: runs on one data set were expected.')
    return len(shared), [recall.mean() for recall in recalls], compare(*recalls, rng)


def compared(found):
    """A row for each model but the first, which it is compared with."""
    name, *others = found
    rng = np.random.default_rng(SEED)
    results = {other: comparison(found[name], found[other], rng) for other in others}
    corrected = {kind: holm([getattr(result, kind) for _, _, result in results.values()])
                 for kind in ('p_bootstrap', 'p_wilcoxon')}
    return [{f'{name} beside': other, 'kind': kind(other, found), 'shared seeds': shared,
             f'Recall@20 of {name}': first, 'of the other': second,
             'difference': result.difference, 'low': result.low, 'high': result.high,
             'p bootstrap': result.p_bootstrap, 'p bootstrap (Holm)': corrected['p_bootstrap'][number],
             'p Wilcoxon': result.p_wilcoxon, 'p Wilcoxon (Holm)': corrected['p_wilcoxon'][number]}
            for number, (other, (shared, (first, second), result)) in enumerate(results.items())]


def line_of(row):
    """A comparison as the pages have it."""
    low, high = row['low'], row['high']
    plain = [name for name in list(row) if not name.startswith('p ') and name not in ('difference', 'low', 'high')]
    return {**{name: f'{row[name]:.4f}' if isinstance(row[name], float) else row[name] for name in plain},
            'difference (95 % interval)': f'{row["difference"]:+.4f} ({low:+.4f} to {high:+.4f})',
            **{name: f'{value:.2g}' for name, value in row.items() if name.startswith('p ')}}


def gaps(found):
    """Best on test less selected on validation, for every model."""
    chosen = {name: [(run.test('test')['recall'], run.test('val')['recall']) for run in runs.values()]
              for name, runs in found.items()}
    return [{'model': name, 'kind': kind(name, found), 'seeds': len(pairs),
             'best on test Recall@20': spread(test for test, _ in pairs),
             'selected on validation Recall@20': spread(val for _, val in pairs),
             'gap': spread(test - val for test, val in pairs)} for name, pairs in chosen.items()]


def draw(reference, comparisons, protocols, path):
    """Variants of the first model above; other models below, the nearest first: their differences are larger."""
    compared = {row[f'{reference} beside']: row for row in comparisons}
    parts = [[row for row in protocols if row['kind'] == 'variant'],
             sorted((row for row in protocols if row['kind'] != 'variant'),
                    key=lambda row: compared.get(row['model'], {'difference': 0})['difference'])]
    parts = [part for part in parts if part]
    size = 8.6, 0.25 * len(protocols) + 0.7 * len(parts) + 0.7
    figure, panels = plt.subplots(len(parts), 2, figsize=size, squeeze=False, width_ratios=(2, 1),
                                  height_ratios=[len(part) + 1 for part in parts])
    for (left, right), part in zip(panels, parts, strict=True):
        left.axvline(0, color='black', lw=1)
        for height, row in enumerate(part):
            if row['model'] in compared:
                draw_difference(left, height, compared[row['model']])
            values = row['gap'].values
            right.plot(values, [height] * len(values), '|', color=VERMILION, ms=9)
            right.plot(np.mean(values), height, 's', color=VERMILION)
        left.set_yticks(range(len(part)), [f'{row["model"]} ({row["seeds"]})' for row in part])
        right.set_yticks(range(len(part)), [])
        for panel in (left, right):
            panel.set_ylim(len(part) - 0.4, -0.6)
        left.set_title(f'{reference} and its variants' if part[0]['kind'] == 'variant' else 'other models', loc='left')
    panels[-1][0].set_xlabel(f'test Recall@20 of {reference} less that of the other')
    panels[-1][1].set_xlabel('best on test less\nchosen on validation')
    widest = max(max(row['gap'].values) for row in protocols)
    for _, right in panels:
        right.set_xlim(-0.08 * widest, 1.08 * widest or 1)
        right.locator_params(axis='x', nbins=3)
    handles = [plt.Line2D([], [], marker='o', color=colour, mfc=fill, label=label) for colour, fill, label in
               ((BLUE, BLUE, f'95 % interval, p < {LEVEL} after Holm (bootstrap)'), (GREY, 'white', f'p >= {LEVEL}'))]
    figure.legend(handles=handles, loc='upper center', ncol=2, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.3 / size[1]))
    save(figure, path)


def draw_difference(panel, height, row):
    clear = row['p bootstrap (Holm)'] < LEVEL
    colour = BLUE if clear else GREY
    panel.plot([row['low'], row['high']], [height] * 2, color=colour)
    panel.plot(row['difference'], height, 'o', color=colour, mfc=colour if clear else 'white')


def default_runs(options, flags):
    """(runs, words for the names of their folders): the ablation's, and beside its folder those of cross-modal contrast
    for longer and the baselines' chosen ones."""
    declared = variants(flags)
    provide(jobs_of({name: f'{BASE} {EPOCHS} {own}' for name, (_, _, own) in declared.items()}, options, flags,
                    changed=('modalities',)), NAME, options, flags)
    beside = options.root.parent
    baselines = sorted(beside.glob('baselines/*/chosen'))
    runs = [run for folder in (*(options.root / name for name in declared), beside / LONGER, *baselines)
            for run in find_runs(folder.parent, folder.name)]
    longest = max((run.n_epochs for run in runs if folder_of(run) == beside / LONGER), default=0)
    return runs, {**{name: label for name, (_, label, _) in declared.items() if name != 'full'},
                  LONGER: f'cross-modal contrast, {longest} epochs',
                  **{folder.parent.name: model_name(folder.parent.name) for folder in baselines}}


def of_data_set(folder):
    """The rows of one data set: MDMNS, and the model without features that validation prefers, each beside every other
    model of Table II that has its figures of every user. folder: results/<data>."""
    places = {path.parent.name: path for path in sorted(folder.glob('baselines/*/chosen'))}
    if (folder / PUBLISHED_EPOCHS).is_dir():
        places.setdefault('mdmns', folder / PUBLISHED_EPOCHS)
    found = testable({model_name(model): {run.seed: run for run in find_runs(path.parent, path.name) if run.test('val')}
                      for model, path in places.items()})
    simple = {name: np.mean([run.result['best_val']['val']['recall'] for run in runs.values()])
              for name, runs in found.items() if not MODELS[next(iter(runs.values())).settings['model']].needs_features}
    firsts = [name for name in (model_name('mdmns'), max(simple, key=simple.get, default=None)) if name in found]
    for name in firsts if len(found) > 1 else ():
        for row in compared({name: found[name], **found}):
            yield {'data set': folder.name, 'model': name, 'beside': row.pop(f'{name} beside'),
                   'Recall@20': row.pop(f'Recall@20 of {name}'),
                   **{column: value for column, value in row.items() if column != 'kind'}}


def main(argv=None):
    options, flags = read_command_line(command_line(NAME, __doc__, ABLATION, runs=True), argv)
    runs, words = (given_runs(options.runs), {}) if options.runs else default_runs(options, flags)
    first = folder_of(runs[0]) if options.runs else options.root / 'full'
    found = models(runs, words)
    tested = testable(found)
    if next(iter(tested), '') != name_of(first) or len(tested) < 2:
        raise none_there(NAME, f'{first}, or none to compare it with, that has its per_user.npz')
    comparisons, protocols = compared(tested), gaps(found)
    write_tables(NAME, comparisons, options, [line_of(row) for row in comparisons])
    write_tables('protocols', protocols, options)
    folders = () if options.runs else sorted(options.root.parent.parent.iterdir())
    if rows := [row for folder in folders if folder.is_dir() for row in of_data_set(folder)]:
        write_tables('significance_models', rows, options, [line_of(row) for row in rows])
    draw(name_of(first), comparisons, protocols, options.to / f'{NAME}.png')


if __name__ == '__main__':
    sys.exit(run_command(f'figures/{NAME}.py', main))
