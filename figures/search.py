"""MDMNS with what goes beyond the release beside the strongest baselines, each after a search of as many points:
python figures/search.py

    --run --data_dir DIR [--models M ...] [--data D ...]    make the runs that are missing

Of each model in Baselines/search.json 24 points on TikTok and 12 on Sports, trained with seed 421: ten at random, each
further one as TPE proposes it from the validation Recall of those before; runs that fall behind the median are pruned.
Then the chosen point with every seed; the fresh ones are all but 421. A sweep each in results/<data>/search/<model>.

search.csv and .md have a row for each model and data set: what was chosen, and test Recall and NDCG at the epoch chosen
on validation; beside every other model MDMNS's Recall less its own over the seeds of both, with a confidence interval
and p by bootstrap over users. search_grids.csv and .md have the same beside all models that were not searched, at the
point that their grid chose (Table II), and beside MDMNS's own. p is after Holm's correction for all rows of both.
search_points.csv has every point, those that were pruned and those of searches that are not at their end, too.
"""
import sys
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from Experiments.Grids import name_of
from Experiments.SavedRuns import find_runs, read_json, read_metrics
from Experiments.Sources import Several
from Experiments.Tables import FIGURES, spread, write_csv
from figures.performance import FRESH, fresh_recall, model_name, point_of, run_in_words
from figures.runs import command_line, none_there, provide, read_command_line, write_tables
from figures.significance import compared, corrected, testable
from figures.sweeps import add_parts, sweeps
from Utils.Command import run_command
from Utils.Errors import InputError

NAME, GRID = 'search', 'baselines'  # folders of sweeps in results/<data>
RESULTS = Path('results')
GRIDS = FIGURES.parent / 'Baselines' / 'search.json'
TRIALS = {'tiktok': 24, 'sports': 12}  # points of each model
REFERENCE = 'mdmns'


def how(data):
    """Of the command line of a sweep on this data set."""
    return '--search', 'tpe', '--trials', str(TRIALS[data]), '--prune', 'median'


def found_in(folder):
    """model -> {seed: run} of the chosen points of the sweeps in a folder."""
    found = {sweep.parent.name: {run.seed: run for run in find_runs(sweep.parent, 'chosen')}
             for sweep in sorted(folder.glob('*/sweep.json'))}
    return {model: runs for model, runs in found.items() if runs}


def tuned(folder):
    """(search or grid, model) -> {seed: run} of a data set's folder: the grid's point where there was no search, and of
    MDMNS both."""
    searched = found_in(folder / NAME)
    return {**{(NAME, model): runs for model, runs in searched.items()},
            **{(GRID, model): runs for model, runs in found_in(folder / GRID).items()
               if model not in searched or model == REFERENCE}}


def comparisons(found):
    """(data set, search or grid, model) -> the comparison of MDMNS as it was searched with it, p corrected for all of
    them; found: data set -> what is tuned there."""
    rows = []
    for data, models in found.items():
        kept = testable(models)
        for row in compared(kept, (NAME, REFERENCE)) if (NAME, REFERENCE) in kept else ():
            rows.append({'data set': data, **row})
    return {(row['data set'], *row['beside']): row for row in corrected(rows)} if rows else {}


def less(result):
    """The last columns of a row; empty without a comparison."""
    return {'MDMNS less that (95 % interval)': '{difference:+.4f} ({low:+.4f} to {high:+.4f})'.format(**result)
            if result else '', 'p (Holm)': f'{result["p bootstrap (Holm)"]:.2g}' if result else ''}


def row_of(data, model, runs, swept, result):
    runs = list(runs.values())
    return {'data set': data, 'model': model_name(model), 'chosen': point_of(swept['chosen']['settings']),
            'points': swept['points'], 'pruned': swept.get('pruned', 0), 'seeds': len(runs),
            'validation Recall@20': spread(run.result['best_val']['val']['recall'] for run in runs),
            'Recall@20': spread(run.test('val')['recall'] for run in runs),
            FRESH: fresh_recall(runs),
            'NDCG@20': spread(run.test('val')['ndcg'] for run in runs), **less(result)}


def grid_row_of(data, model, runs, result):
    return {'data set': data, 'model': model_name(model), 'its grid': run_in_words(next(iter(runs.values()))),
            'shared seeds': result['shared seeds'], 'Recall@20 of MDMNS': f'{result["Recall@20"]:.4f}',
            'its Recall@20': f'{result["of the other"]:.4f}', **less(result)}


def points(root):
    """A row for every point that a search has begun, the best of each first."""
    for folder in sorted(root.glob(f'*/{NAME}/*')):
        best, rows = '', []
        if (folder / 'chosen').is_dir():  # a search that is not at its end has chosen nothing
            best = name_of(read_json(folder / 'sweep.json', ('chosen',))['chosen']['settings'])
        for path in folder.glob('*=*/seed*/metrics.csv'):
            metrics, point = read_metrics(path), path.parent.parent.name
            rows.append({'data set': folder.parent.parent.name, 'model': model_name(folder.name), 'point': point,
                         'epochs': int(metrics[-1]['epoch']) + 1,
                         'best validation Recall@20': max(row['val_recall'] for row in metrics),
                         'state': 'chosen' if point == best else
                         'finished' if (path.parent / 'result.json').is_file() else 'stopped'})
        yield from sorted(rows, key=lambda row: (-row['best validation Recall@20'], row['point']))


def main(argv=None):
    parser = command_line(NAME, __doc__, RESULTS, seeds=(421, 1, 2, 3, 4), variants=False)
    add_parts(parser)
    options, flags = read_command_line(parser, argv)
    found = list(sweeps(options, flags, GRIDS, NAME, TRIALS, how)) if options.run else []
    if options.run and not found:
        raise InputError('None of these models is searched on these data sets: the log says which need features, and '
                         '--data_dir which data sets are there.')
    provide([job for sweep in found for job in sweep.jobs], NAME, options, flags, Several(found))
    tables = {folder.parent.name: tuned(folder.parent) for folder in sorted(options.root.glob(f'*/{NAME}'))}
    results, rows, beside = comparisons(tables), [], []
    for data, models in tables.items():
        mine = [row_of(data, model, runs, read_json(options.root / data / NAME / model / 'sweep.json',
                                                    ('chosen', 'points')), results.get((data, NAME, model)))
                for (place, model), runs in models.items() if place == NAME]
        rows += sorted(mine, key=lambda row: -mean(row['Recall@20'].values))
        beside += sorted((grid_row_of(data, model, runs, results[data, place, model])
                          for (place, model), runs in models.items()
                          if place == GRID and (data, place, model) in results),
                         key=lambda row: row['its Recall@20'], reverse=True)
    if not rows:
        raise none_there(NAME, options.root / next(iter(TRIALS)) / NAME)
    write_tables(NAME, rows, options)
    write_csv(options.to / f'{NAME}_points.csv', list(points(options.root)))
    if beside:
        write_tables(f'{NAME}_grids', beside, options)


if __name__ == '__main__':
    sys.exit(run_command(f'figures/{NAME}.py', main))
