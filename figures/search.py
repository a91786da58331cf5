"""MDMNS with what goes beyond the release beside the strongest baselines, each after a search of as many points:
python figures/search.py

    --run --data_dir DIR [--models M ...] [--data D ...]    make the runs that are missing

Of each model in Baselines/search.json 24 points on TikTok and 12 on Sports, trained with seed 421: ten at random, each
further one as TPE proposes it from the validation Recall of those before; runs that fall behind the median are pruned.
Then the chosen point with every seed; the fresh ones are all but 421. A sweep each in results/<data>/search/<model>.

search.csv and .md have a row for each model and data set: what was chosen, and test Recall and NDCG at the epoch chosen
on validation; beside every other model MDMNS's Recall less its own over the seeds of both, with a confidence interval
and p by bootstrap over users, p after Holm's correction for all rows.
"""
import sys
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from Experiments.SavedRuns import find_runs, read_json
from Experiments.Sources import Several
from Experiments.Tables import FIGURES, spread
from figures.performance import FRESH, fresh_recall, model_name, point_of
from figures.runs import command_line, none_there, provide, read_command_line, write_tables
from figures.significance import compared, corrected, testable
from figures.sweeps import add_parts, sweeps
from Utils.Command import run_command
from Utils.Errors import InputError

NAME = 'search'
RESULTS = Path('results')
GRIDS = FIGURES.parent / 'Baselines' / 'search.json'
TRIALS = {'tiktok': 24, 'sports': 12}  # points of each model
REFERENCE = 'mdmns'


def how(data):
    """Of the command line of a sweep on this data set."""
    return '--search', 'tpe', '--trials', str(TRIALS[data]), '--prune', 'median'


def found_in(folder):
    """model -> {seed: run} of the chosen points of the searches in a folder."""
    found = {sweep.parent.name: {run.seed: run for run in find_runs(sweep.parent, 'chosen')}
             for sweep in sorted(folder.glob('*/sweep.json'))}
    return {model: runs for model, runs in found.items() if runs}


def comparisons(root):
    """(data set, model) -> the comparison of MDMNS with it, p corrected for all of them."""
    rows = []
    for folder in sorted(root.glob(f'*/{NAME}')):
        kept = testable(found_in(folder))
        for row in compared(kept, REFERENCE) if REFERENCE in kept else ():
            rows.append({'data set': folder.parent.name, **row})
    return {(row['data set'], row['beside']): row for row in corrected(rows)} if rows else {}


def row_of(folder, model, runs, result):
    swept, runs = read_json(folder / model / 'sweep.json', ('chosen', 'points')), list(runs.values())
    less = '{difference:+.4f} ({low:+.4f} to {high:+.4f})'.format(**result) if result else ''
    return {'data set': folder.parent.name, 'model': model_name(model), 'chosen': point_of(swept['chosen']['settings']),
            'points': swept['points'], 'pruned': swept.get('pruned', 0), 'seeds': len(runs),
            'validation Recall@20': spread(run.result['best_val']['val']['recall'] for run in runs),
            'Recall@20': spread(run.test('val')['recall'] for run in runs),
            FRESH: fresh_recall(runs),
            'NDCG@20': spread(run.test('val')['ndcg'] for run in runs),
            'MDMNS less that (95 % interval)': less,
            'p (Holm)': f'{result["p bootstrap (Holm)"]:.2g}' if result else ''}


def main(argv=None):
    parser = command_line(NAME, __doc__, RESULTS, seeds=(421, 1, 2, 3, 4), variants=False)
    add_parts(parser)
    options, flags = read_command_line(parser, argv)
    found = list(sweeps(options, flags, GRIDS, NAME, TRIALS, how)) if options.run else []
    if options.run and not found:
        raise InputError('None of these models is searched on these data sets: the log says which need features, and '
                         '--data_dir which data sets are there.')
    provide([job for sweep in found for job in sweep.jobs], NAME, options, flags, Several(found))
    results, rows = comparisons(options.root), []
    for folder in sorted(options.root.glob(f'*/{NAME}')):
        mine = [row_of(folder, model, runs, results.get((folder.parent.name, model)))
                for model, runs in found_in(folder).items()]
        rows += sorted(mine, key=lambda row: -mean(row['Recall@20'].values))
    if not rows:
        raise none_there(NAME, options.root / next(iter(TRIALS)) / NAME)
    write_tables(NAME, rows, options)


if __name__ == '__main__':
    sys.exit(run_command(f'figures/{NAME}.py', main))
