"""Whether MDMNS differs from its variants and from other models, tested over users: python figures/significance.py

    --runs RUN ...                          of these, each a folder with the runs of one model in seed<S>, or a run; the
                                            first is compared with the others
    --run --data_dir DIR [--seeds S ...]    make the ablation's runs that are missing

Without --runs: results/tiktok/ablation/full beside its variants there and the baselines, and the two contrasts after
the published number of epochs; and, as the table significance_models, on each data set MDMNS, and the simple model
(`SIMPLE`) that is best on validation, beside every model of the table of results. MDMNS is there the point that its
sweep chose; where it was not swept, it is left out.
The last columns of that table are of the fresh seeds alone: those that had no part in the choice of either's point.

Test Recall@20 of every user, at the epoch chosen on validation, averaged over the seeds that both models have; models
that share none are not compared. The mean difference with a confidence interval and a p-value by bootstrap over users,
Wilcoxon's signed-rank test, and both p after Holm's correction for all comparisons in the table. The intervals are of
users, for the runs at hand: they say nothing of other seeds. Besides, for every model: the best test Recall less that
of the epoch chosen on validation. Reads per_user.npz, without which a model has only the latter. Writes
significance.png, and the tables significance, significance_models and protocols as .csv and .md.
"""
import sys
from pathlib import Path
from statistics import mean

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
CONTRASTS = {'cl1-50': 'multi-level contrast, 50 epochs', 'cl0-50': 'cross-modal contrast, 50 epochs'}
SIMPLE = ('pop', 'itemknn', 'ease', 'ials', 'mfbpr')  # neither a graph nor features
LEVEL = 0.05
SEED = 421  # of the bootstrap
FRESH, FRESH_P = 'difference, fresh seeds', 'p bootstrap, fresh seeds'


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


def shared_seeds(first, second):
    """Seeds of the runs that both have; the one run of a closed form is that of every seed."""
    seeds = [set(runs) for runs in (first, second)
             if not MODELS[next(iter(runs.values())).settings['model']].closed_form]
    return set.intersection(*seeds or [set(first)])


def comparison(first, second, rng):
    """Of the seeds that both have: (how many, means of both, Comparison)."""
    shared = shared_seeds(first, second)
    users, recalls = zip(*(per_user([run.folder for seed, run in sorted(runs.items()) if seed in shared]
                                    or [run.folder for run in runs.values()])
                           for runs in (first, second)), strict=True)
    if not np.array_equal(*users):
        raise InputError(f'{next(iter(first.values())).folder} and {next(iter(second.values())).folder} are of other '
                         'users: runs on one data set were expected.')
    return len(shared), [recall.mean() for recall in recalls], compare(*recalls, rng)


def fresh(runs):
    return {seed: run for seed, run in runs.items() if not run.chose}


def on_fresh_seeds(first, second, rng):
    """The comparison again on the seeds that had no part in the choice of either model's point; where there are none,
    or they are all that is shared, empty."""
    shared, pair = shared_seeds(first, second), [fresh(runs) for runs in (first, second)]
    left = shared_seeds(*pair) if all(pair) else set()
    result = comparison(*pair, rng)[-1] if left and left != shared else None
    return {'fresh seeds': len(left) if result else '', FRESH: result.difference if result else '',
            FRESH_P: result.p_bootstrap if result else ''}


def compared(found, name):
    """A row for each other model of those found that shares seeds with the one of this name, p not yet corrected."""
    rng = np.random.default_rng(SEED)
    for other, runs in found.items():
        if other != name and shared_seeds(found[name], runs):
            shared, means, result = comparison(found[name], runs, rng)
            yield {'model': name, 'beside': other, 'kind': kind(other, found), 'shared seeds': shared,
                   'Recall@20': means[0], 'of the other': means[1],
                   **{field: getattr(result, field) for field in ('difference', 'low', 'high')},
                   'p bootstrap': result.p_bootstrap, 'p Wilcoxon': result.p_wilcoxon}


def corrected(rows):
    """The rows with both p after Holm's correction for all of them."""
    holms = {name: holm([row[name] for row in rows]) for name in ('p bootstrap', 'p Wilcoxon')}
    return [{**row, **{f'{name} (Holm)': values[number] for name, values in holms.items()}}
            for number, row in enumerate(rows)]


def line_of(row):
    """A comparison as the pages have it."""
    low, high = row['low'], row['high']
    plain = [name for name in row if not name.startswith(('p ', 'difference', 'low', 'high', 'fresh'))]
    line = {**{name: f'{row[name]:.4f}' if isinstance(row[name], float) else row[name] for name in plain},
            'difference (95 % interval)': f'{row["difference"]:+.4f} ({low:+.4f} to {high:+.4f})',
            **{name: f'{value:.2g}' for name, value in row.items() if name.startswith('p ') and name != FRESH_P}}
    if FRESH in row:
        line['fresh seeds: difference (p bootstrap)'] = (
            f'{row["fresh seeds"]}: {row[FRESH]:+.4f} ({row[FRESH_P]:.2g})' if row['fresh seeds'] else '')
    return line


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
    compared = {row['beside']: row for row in comparisons}
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
    baselines = [folder for folder in sorted(beside.glob('baselines/*/chosen')) if folder.parent.name != 'mdmns']
    runs = [run for folder in (*(options.root / name for name in declared), beside / LONGER, *baselines)
            for run in find_runs(folder.parent, folder.name)]
    longest = max((run.n_epochs for run in runs if folder_of(run) == beside / LONGER), default=0)
    return runs, {**{name: label for name, (_, label, _) in declared.items() if name != 'full'},
                  LONGER: f'cross-modal contrast, {longest} epochs',
                  **{folder.parent.name: model_name(folder.parent.name) for folder in baselines}}


def contrasts(root):
    """MDMNS with multi-level contrast beside cross-modal, for the published number of epochs; root: their folder."""
    found = testable(models([run for name in CONTRASTS for run in find_runs(root, name)], CONTRASTS))
    first = CONTRASTS['cl1-50']
    return compared(found, first) if first in found else ()


def beside_all(root):
    """Rows of every data set in root: MDMNS, where its sweep is there, and the best simple model beside the others; the
    two beside each other once."""
    rng = np.random.default_rng(SEED)
    for folder in sorted({place.parent.parent.parent for place in root.glob('*/baselines/*/chosen')}):
        places = sorted(folder.glob('baselines/*/chosen'))
        found = testable(models([run for place in places for run in find_runs(place.parent, place.name)],
                                {place.parent.name: model_name(place.parent.name) for place in places}))
        simple = {name: mean(run.result['best_val']['val']['recall'] for run in runs.values())
                  for name, runs in found.items() if next(iter(runs.values())).settings['model'] in SIMPLE}
        first = model_name('mdmns')
        for name in (first, *([max(simple, key=simple.get)] if simple else [])):
            for row in compared(found, name) if name in found else ():
                if row['beside'] != first:
                    yield {'data set': folder.name, **{title: value for title, value in row.items() if title != 'kind'},
                           **on_fresh_seeds(found[name], found[row['beside']], rng)}


def main(argv=None):
    options, flags = read_command_line(command_line(NAME, __doc__, ABLATION, runs=True), argv)
    runs, words = (given_runs(options.runs), {}) if options.runs else default_runs(options, flags)
    first = folder_of(runs[0]) if options.runs else options.root / 'full'
    found = models(runs, words)
    tested = testable(found)
    if next(iter(tested), '') != name_of(first) or len(tested) < 2:
        raise none_there(NAME, f'{first}, or none to compare it with, that has its per_user.npz')
    comparisons = list(compared(tested, name_of(first)))
    if not options.runs:
        comparisons += contrasts(options.root.parent / 'mdmns')
    comparisons, protocols = corrected(comparisons), gaps(found)
    write_tables(NAME, comparisons, options, [line_of(row) for row in comparisons])
    write_tables('protocols', protocols, options)
    if not options.runs and (rows := corrected(list(beside_all(options.root.parent.parent)))):
        write_tables('significance_models', rows, options, [line_of(row) for row in rows])
    draw(name_of(first), comparisons, protocols, options.to / f'{NAME}.png')


if __name__ == '__main__':
    sys.exit(run_command(f'figures/{NAME}.py', main))
