"""The models' own defaults, written from the sweeps in results/: python -m Experiments.Defaults

    python -m Experiments.Defaults [--root results] [--grids Baselines/grids.json] [--to Baselines/defaults.json]

A model's own defaults are the values of the flags that its grid names, at one point of the grid: the one whose mean
validation Recall, as a share of the best point's, is highest over the data sets whose sweep is finished (a point that
was not run on one counts 0 there, one that was evaluated more or less often is the same point), or over all that were
begun where none is. Where the sweep of a data set chose another point, its values stand below that data set's name.
Flags that the grid does not name keep the defaults of Params.py, so that a sweep by these grids is the same with these
defaults and without. A model that no sweep is there for keeps what it has or, where that is nothing, gets the first
values of its grid; MDMNS keeps its published defaults.
"""
import argparse
import csv
import json
import sys
from pathlib import Path
from statistics import mean

from Baselines import MODELS
from Experiments.SavedRuns import read_json, read_run
from Experiments.Tables import ROOT
from Params import OWN, Parser
from Runs.Flags import flags_that_count
from Utils.Command import run_command
from Utils.Errors import InputError
from Utils.TimeLogger import log

PUBLISHED = 'mdmns'  # whose defaults are the release's


def command_line():
    parser = Parser(prog='python -m Experiments.Defaults', description=__doc__, allow_abbrev=False,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--root', type=Path, default=ROOT / 'results',
                        help='folder of the runs: root/<data>/baselines/<model>/sweep.csv (default: results)')
    parser.add_argument('--grids', type=Path, default=ROOT / 'Baselines' / 'grids.json',
                        help='JSON file of the grids (default: Baselines/grids.json)')
    parser.add_argument('--to', type=Path, default=OWN, help='file to write (default: Baselines/defaults.json)')
    return parser


def points_of(path, flags):
    """The points of a sweep.csv, as the values of the flags in their runs -> mean validation Recall of their seeds."""
    recalls = {}
    with open(path, newline='') as file:
        for row in csv.DictReader(file):
            folder = path.parent.joinpath(*Path(row['folder']).parts[-2:])
            run = read_run(folder)
            if run is None:
                raise InputError(f'{path} has a row of {folder}, which holds no finished run: run the sweep again.')
            values = json.dumps({flag: run.settings[flag] for flag in flags if flag in run.settings})
            recalls.setdefault(values, []).append(float(row['val_recall']))
    return {values: mean(those) for values, those in recalls.items()}


def point_of(values):
    """What is trained: how often it is evaluated is no part of that."""
    return {flag: value for flag, value in json.loads(values).items() if flag != 'tstEpoch'}


def is_finished(path):
    """Whether all points of a sweep.csv's sweep were run, or pruned."""
    swept = read_json(path.with_name('sweep.json'), ('points', 'finished'))
    return swept['finished'] + swept.get('pruned', 0) == swept['points']


def own_of(sweeps, counted):
    """(defaults, data set -> what differs there) of one model.

    sweeps: data set -> its `points_of`; counted: the data sets that the defaults are chosen on.
    """
    best = {data: max(points, key=points.get) for data, points in sweeps.items()}
    everywhere = list(dict.fromkeys(values for points in sweeps.values() for values in points))
    shares = {values: mean(max(recall for other, recall in [(values, 0), *sweeps[data].items()]
                               if point_of(other) == point_of(values)) / sweeps[data][best[data]] for data in counted)
              for values in everywhere}
    base = json.loads(max(shares, key=shares.get))
    differing = {data: {flag: value for flag, value in json.loads(values).items() if value != base[flag]}
                 for data, values in best.items()}
    return base, {data: values for data, values in differing.items() if values}


def defaults(root, grids, earlier):
    """The content of the file; earlier: what it has now."""
    models, on_data = dict(earlier['models']), {data: dict(own) for data, own in earlier.get('data', {}).items()}
    for model, grid in grids['models'].items():
        elsewhere = {flag for own in grids.get('data', {}).values() for flag in own.get(model, {})}
        flags = sorted({*grids.get('common', {}), *grid, *elsewhere} & flags_that_count(MODELS[model]))
        paths = {path.parts[-4]: path for path in sorted(root.glob(f'*/baselines/{model}/sweep.csv'))}
        if not flags or model == PUBLISHED:
            continue
        if paths:
            finished = [data for data, path in paths.items() if is_finished(path)]
            models[model], differing = own_of({data: points_of(path, flags) for data, path in paths.items()},
                                              finished or list(paths))
            for own in on_data.values():
                own.pop(model, None)
            for data, values in differing.items():
                on_data.setdefault(data, {})[model] = values
        else:
            firsts = {**grids.get('common', {}), **{flag: values[0] for flag, values in grid.items()}}
            models.setdefault(model, {flag: firsts[flag] for flag in flags if flag in firsts})
    order = list(grids['models'])
    return {'models': dict(sorted(models.items(), key=lambda entry: place(entry[0], order))),
            'data': {data: dict(sorted(own.items(), key=lambda entry: place(entry[0], order)))
                     for data, own in sorted(on_data.items()) if own}}


def place(model, order):
    return order.index(model) if model in order else len(order)


def as_text(content):
    """JSON, a line to a model."""
    def block(own, indent):
        lines = [f'{indent}  {json.dumps(model)}: {json.dumps(values)}' for model, values in own.items()]
        return '{\n' + ',\n'.join(lines) + f'\n{indent}}}'

    data = ',\n'.join(f'    {json.dumps(name)}: {block(own, "    ")}' for name, own in content['data'].items())
    return f'{{\n  "models": {block(content["models"], "  ")},\n  "data": {{\n{data}\n  }}\n}}\n'


def write(argv=None):
    options = command_line().parse_args(argv)
    earlier = read_json(options.to, ('models',)) if options.to.is_file() else {'models': {}}
    content = defaults(options.root, read_json(options.grids, ('models',)), earlier)
    options.to.write_text(as_text(content))
    log(f"{len(content['models'])} models' own defaults in {options.to}"
        + ''.join(f'; others on {data}: {", ".join(own)}' for data, own in content['data'].items()))


def main(argv=None):
    return run_command('Experiments.Defaults', lambda: write(argv))


if __name__ == '__main__':
    sys.exit(main())
