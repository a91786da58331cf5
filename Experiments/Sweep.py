"""Many runs of Main.py, and the settings among them with the best validation Recall: python -m Experiments.Sweep

    python -m Experiments.Sweep --grid latdim=64,128 ssl_reg=1e-3,1e-2 --data tiktok --seeds 421 1 --out results/sweep
    python -m Experiments.Sweep --grids Baselines/grids.json --model lightgcn --data baby --out results/baby/lightgcn

Each run is a plain run of Main.py, in OUT/<flag>=<value>,<flag>=<value>/seed<S>. The same command again goes on where
it was left: runs that are finished stay, one that was begun is continued (they are told by their flags, not by the
code: after a change to a model remove its folder). OUT/sweep.csv has a row per finished run, OUT/sweep.json what was
chosen: of the points whose seeds are all finished the one with the highest mean validation Recall, the test set unseen.
With --final_seeds the chosen point's runs with these seeds are in OUT/chosen/seed<S>.

--grid takes FLAG=VALUE,VALUE,...; the words of a value of several words are joined by `_` (or separated by spaces, in
quotes): noise_levels=0_0_1_2,0_0.5. The value `none` of such a flag is the flag alone. A file for --grids is
{"models": {MODEL: {FLAG: [VALUE, ...]}}, "common": {FLAG: VALUE}}, where a value of several words is a list; what a
model says itself, also of a single value, stands in place of "common".
"""
import argparse
import json
import random
import shutil
import sys
from itertools import product
from pathlib import Path
from statistics import mean

from DataHandler import find_folder, load_matrix
from Datasets.generate import ensure_generated
from Experiments.Jobs import Job, make_runs, missing
from Experiments.SavedRuns import describe, read_run
from Experiments.Tables import write_csv
from Params import Parser, build_parser, number, parse
from Utils.Command import run_command
from Utils.Errors import InputError, suggestion
from Utils.TimeLogger import log

OURS = {'seed': 'give --seeds', 'out': 'it is the folder of the whole sweep', 'resume': 'a sweep always goes on',
        'overwrite': 'remove the folder of the run', 'load': 'a sweep trains',
        'recommend': 'give --keep_embeddings, and --load the chosen run later'}


def command_line():
    parser = Parser(prog='python -m Experiments.Sweep', description=__doc__, allow_abbrev=False,
                    formatter_class=argparse.RawDescriptionHelpFormatter,
                    epilog='All other flags go to Main.py, for every run.')
    parser.add_argument('--grid', nargs='+', default=[], metavar='FLAG=V1,V2', help='values of flags of Main.py')
    parser.add_argument('--grids', type=Path, metavar='FILE', help='JSON file with the grid of --model')
    parser.add_argument('--model', default=None, help='model to train')
    parser.add_argument('--seeds', type=number(int, 0), nargs='+', default=[421], metavar='SEED',
                        help='seeds of every point (default: 421)')
    parser.add_argument('--sample', type=number(int, 1), default=None, metavar='N',
                        help='run N points of the grid, drawn at random (default: all)')
    parser.add_argument('--sample_seed', type=number(int, 0), default=0, help='seed of that draw (default: 0)')
    parser.add_argument('--final_seeds', type=number(int, 0), nargs='+', default=[], metavar='SEED',
                        help='seeds of the chosen point in OUT/chosen')
    parser.add_argument('--out', type=Path, required=True, help='folder of the sweep')
    parser.add_argument('--keep_embeddings', action='store_true', help="keep each run's embeddings.npz")
    return parser


def main_flags():
    """The flags of Main.py: name -> whether it takes several words."""
    return {action.dest: action.nargs in ('+', '*') for action in build_parser()._actions if action.option_strings}


def check_flag(flag):
    known = [name for name in main_flags() if name not in (*OURS, 'help')]
    if flag in OURS:
        raise InputError(f'{flag} cannot be swept: {OURS[flag]}.')
    if flag not in known:
        raise InputError(f'--{flag} is no flag of Main.py. {suggestion(flag, known)}Its --help lists them all.')


def read_grid(words):
    """['latdim=64,128', ...] -> {'latdim': ['64', '128']}."""
    grid = {}
    for word in words:
        flag, equals, values = word.partition('=')
        flag, values = flag.lstrip('-'), values.split(',')
        if not equals or not flag or '' in values:
            raise InputError(f'--grid got {word!r}, expected FLAG=VALUE,VALUE,... such as latdim=64,128.')
        if flag in grid:
            raise InputError(f'--grid has {flag} twice: give all its values at once.')
        check_flag(flag)
        grid[flag] = values
    return grid


def read_grids(path, model):
    """(grid, flags for every run) of a model in a file of grids."""
    try:
        content = json.loads(path.read_text())
        models, common = content['models'], content.get('common', {})
        if model not in models:
            raise InputError(f'{path} has no grid for --model {model}. {suggestion(str(model), models)}It has: '
                             f'{", ".join(models)}.')
        own = {flag: [text_of(value) for value in values] for flag, values in models[model].items()}
        if not all(own.values()):
            raise ValueError('no value')
        grid = {flag: values for flag, values in own.items() if len(values) > 1}
        fixed = {flag: text_of(value) for flag, value in common.items() if flag not in grid}
        fixed |= {flag: values[0] for flag, values in own.items() if len(values) == 1}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f'{path} is not a file of grids ({type(error).__name__}): expected '
                         '{"models": {MODEL: {FLAG: [VALUE, ...]}}, "common": {FLAG: VALUE}}.') from error
    for flag in (*grid, *fixed):
        check_flag(flag)
    return grid, [word for flag, value in fixed.items() for word in flag_words(flag, value)]


def text_of(value):
    if isinstance(value, list):
        return '_'.join(map(text_of, value)) or 'none'
    return str(value).lower() if isinstance(value, bool) else str(value)


def flag_words(flag, value):
    """The words of the command line that set a flag."""
    if not main_flags()[flag]:
        return (f'--{flag}', value)
    return (f'--{flag}', *(() if value == 'none' else value.replace('_', ' ').split()))


def points_of(grid, sample, sample_seed):
    """All combinations of a grid's values, or a random sample of them, as {flag: value}."""
    points = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    if sample is not None and sample < len(points):
        chosen = set(random.Random(sample_seed).sample(range(len(points)), sample))
        points = [point for number, point in enumerate(points) if number in chosen]
    return points


def name_of(point):
    return ','.join(f'{flag}={"_".join(value.split())}' for flag, value in point.items()) or 'default'


def words_of(point):
    return [word for flag, value in point.items() for word in flag_words(flag, value)]


def jobs_of(point, seeds, flags, root):
    """The runs of one point in root/seed<S>. InputError if Main.py would not take their flags."""
    jobs = [Job(root / f'seed{seed}', (*flags, *words_of(point), '--seed', str(seed))) for seed in seeds]
    parse(list(jobs[0].flags))
    return jobs


def check_distinct(points, plans):
    """InputError where two points are the same settings in other words."""
    seen = {}
    for point, jobs in zip(points, plans, strict=True):
        key = json.dumps(jobs[0].settings, sort_keys=True)
        if key in seen:
            raise InputError(f'The points {seen[key]} and {name_of(point)} are the same: leave one of them out.')
        seen[key] = name_of(point)


def nothing_to_choose_by(name):
    return InputError(f'{name} has no validation interactions: nothing can be selected without looking at the test '
                      'set.')


def check_validation(settings):
    """InputError where the data set has no validation interactions; before anything is trained."""
    ensure_generated(settings.data_dir, settings.data)
    if not load_matrix(find_folder(Path(settings.data_dir), settings.data), 'valMat').nnz:
        raise nothing_to_choose_by(settings.data)


def row_of(point, run):
    chosen, best = run.result['best_val'], run.result['best_test']
    if chosen is None:
        raise nothing_to_choose_by(run.dataset)
    return {**point, 'seed': run.seed, 'epochs': run.n_epochs, 'epoch': chosen['epoch'],
            **{f'{split}_{name}': value for split in ('val', 'test') for name, value in chosen[split].items()},
            'best_test_epoch': best['epoch'], **{f'best_test_{name}': best[name] for name in chosen['test']},
            'seconds': run.result['seconds'], 'folder': str(run.folder)}


def write_results(points, plans, root):
    """sweep.csv of the finished runs; sweep.json of the best point, if one has all its seeds. Returns the latter."""
    rows, candidates = [], []
    for point, jobs in zip(points, plans, strict=True):
        runs = [run for job in jobs if (run := read_run(job.folder))]
        rows += [row_of(point, run) for run in runs]
        if len(runs) == len(jobs):
            candidates.append({
                'settings': point, 'folder': str(jobs[0].folder.parent), 'seeds': [run.seed for run in runs],
                'val_recall': mean(run.result['best_val']['val']['recall'] for run in runs),
                'test_recall': mean(run.test('val')['recall'] for run in runs)})
    if rows:
        write_csv(root / 'sweep.csv', rows)
    if not candidates:
        return None
    best = max(candidates, key=lambda candidate: candidate['val_recall'])  # of equal points the first
    (root / 'sweep.json').write_text(json.dumps(
        {'chosen': best, 'points': len(points), 'finished': len(candidates)}, indent=2) + '\n')
    return best


def final_runs(point, seeds, flags, root, options):
    """The chosen point's runs in OUT/chosen: those that the sweep has made are copied."""
    jobs = jobs_of(point, seeds, flags, options.out / 'chosen')
    for job in jobs:
        made = root / job.folder.name
        if (made / 'result.json').is_file() and not job.folder.exists():
            partial = job.folder.with_name(f'.{job.folder.name}.partial')
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(made, partial, ignore=shutil.ignore_patterns('checkpoint*', '.*'))
            partial.rename(job.folder)
    make_runs(jobs, options.keep_embeddings)
    return [read_run(job.folder) for job in jobs]


def given(name, flags):
    return any(word.partition('=')[0] == f'--{name}' for word in flags)


def plan(argv):
    """(options, flags of every run, points, the jobs of each point), all checked before any work."""
    options, flags = command_line().parse_known_args(argv)
    for name, reason in OURS.items():
        if given(name, flags):
            raise InputError(f'--{name} cannot be given to a sweep: {reason}.')
    flags = (*(('--model', options.model) if options.model else ()), *flags)
    if bool(options.grid) == bool(options.grids):
        raise InputError('Give either --grid FLAG=V1,V2 ... or --grids FILE --model NAME.')
    if options.grids:
        grid, common = read_grids(options.grids, options.model)
        flags = (*common, *flags)  # what the command line says comes last, and counts
    else:
        grid = read_grid(options.grid)
    parse(list(flags))
    for flag in grid:
        if given(flag, flags):
            raise InputError(f'--{flag} is both swept and given for every run: leave one out.')
    for name in ('seeds', 'final_seeds'):
        seeds = getattr(options, name)
        setattr(options, name, list(dict.fromkeys(seeds)))
    points = points_of(grid, options.sample, options.sample_seed)
    plans = [jobs_of(point, options.seeds, flags, options.out / name_of(point)) for point in points]
    check_distinct(points, plans)
    if missing([job for jobs in plans for job in jobs]):
        check_validation(parse(list(plans[0][0].flags)))
    return options, flags, points, plans


def sweep(argv=None):
    """Run what is missing of a sweep; what was chosen."""
    options, flags, points, plans = plan(argv)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f'{options.out} cannot be made ({error.strerror}): choose another --out.') from error
    log(f'{len(points)} points, {len(options.seeds)} seeds each; results in {options.out}')
    make_runs([job for jobs in plans for job in jobs], options.keep_embeddings,
              lambda: write_results(points, plans, options.out))
    best = write_results(points, plans, options.out)
    log(f'chosen by validation Recall: {name_of(best["settings"])} (val Recall {best["val_recall"]:.4f}, test Recall '
        f'{best["test_recall"]:.4f}, mean of seeds {", ".join(map(str, best["seeds"]))})')
    if options.final_seeds:
        for run in final_runs(best['settings'], options.final_seeds, flags, Path(best['folder']), options):
            log(f'{run.folder}: {describe(run)}')
    return best


def main(argv=None):
    def start():
        sweep(argv)

    return run_command('Experiments.Sweep', start)


if __name__ == '__main__':
    sys.exit(main())
