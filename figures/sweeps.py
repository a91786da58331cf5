"""The sweeps that a table rests on: of each model of a file of grids, on each data set that is there."""
from pathlib import Path

from Experiments.SavedRuns import read_json
from Experiments.Sweep import Sweep, command_line as sweep_flags
from figures.runs import chosen
from Main import MODELS
from Utils.Errors import InputError
from Utils.TimeLogger import log


def refuse_flags_of_sweeps(flags, grids):
    """InputError where a flag is none of Main.py's but one that the sweeps of the table have from this script."""
    of_sweeps = {name for action in sweep_flags()._actions for name in action.option_strings if action.dest != 'help'}
    for word in flags:
        if (name := word.partition('=')[0]) in of_sweeps:
            raise InputError(f'{name} cannot be passed on to the runs: it is a flag of sweeps, and those of the table '
                             f'are given by Baselines/{grids.name}. python -m Experiments.Sweep takes it.')


def sweeps(options, flags, grids, study, datasets, words=lambda data: ()):
    """The sweep of every model of the file `grids` on each of the data sets that is there, in
    ROOT/<data>/<study>/<model>; models that need features where there are some. Of those that --models and --data name.

    words: data set -> more of the command line of its sweeps.
    """
    refuse_flags_of_sweeps(flags, grids)
    with_grid = list(read_json(grids)['models']) if grids.is_file() else []
    models = chosen(list(dict.fromkeys((*MODELS, *with_grid))), options.models, 'models')
    for dataset in chosen(datasets, options.data, 'data'):
        folder = Path(options.data_dir) / dataset
        if options.data and not folder.is_dir():
            raise InputError(f'--data {dataset}: {options.data_dir} holds no such folder; give the one that does with '
                             '--data_dir.')
        for model in with_grid if folder.is_dir() else ():
            if model not in models:
                continue
            if MODELS[model].needs_features and not any(folder.glob('*_feat.npy*')):
                if options.models:
                    log(f'{model} needs features, and {dataset} has none there: it is left out')
                continue
            seeds = options.seeds[:1 if MODELS[model].closed_form else None]  # of which nothing else would come
            yield Sweep(['--grids', str(grids), '--model', model, '--data', dataset, '--data_dir', options.data_dir,
                         '--out', str(options.root / dataset / study / model), *words(dataset),
                         '--final_seeds', *map(str, seeds), *flags])


def add_parts(parser):
    parser.add_argument('--models', nargs='+', default=None, metavar='NAME',
                        help='with --run: make the runs of these models alone')
    parser.add_argument('--data', nargs='+', default=None, metavar='NAME',
                        help='with --run: make the runs on these data sets alone')
