"""One table per data set and study of the runs in results/, to look through: python -m Experiments.Index

A study is a folder of `STUDIES` in results/<data>; its table is results/<data>/<study>.csv with --publish, and in --to
without. A row per run: its folder, model, the settings that are not Main.py's defaults as flags, seed, epochs trained,
the metrics by both protocols, seconds, and the revision of the code. A run that was stopped has no metrics.
"""
import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from Experiments.Publish import add_place, settle_place
from Experiments.SavedRuns import read_json, read_metrics, read_run, settings_of, told
from Experiments.Tables import ROOT, write_csv
from Experiments.Words import text_of
from Params import Parser, parse
from Utils.Command import run_command
from Utils.Errors import InputError

STUDIES = ('ablation', 'baselines', 'cl0-d64', 'cl1-d64', 'cl1-d64-sample1024', 'mdmns', 'parts', 'precision',
           'search', 'sensitivity', 'tried', 'variants')
OWN_COLUMNS = ('data', 'model', 'modalities', 'seed')  # not among the flags
METRICS = ('recall', 'ndcg', 'precision')


def flags_of(settings):
    """The settings that are not Main.py's defaults, as a command line."""
    defaults = told(asdict(parse([])))
    return ' '.join(f'--{name} {"" if value == [] else text_of(value)}'.strip() for name, value in settings.items()
                    if name not in OWN_COLUMNS and value != defaults.get(name))


def row_of(folder):
    config, run = read_json(folder / 'config.json', ('settings', 'seed', 'dataset')), read_run(folder)
    settings, metrics = settings_of(config), folder / 'metrics.csv'
    chosen, best = (run.result['best_val'], run.result['best_test']) if run else (None, None)
    return {'run': folder.as_posix(), 'model': settings['model'],
            'modalities': '+'.join(config['dataset']['modalities']),
            'settings': flags_of(settings), 'seed': config['seed'],
            'epochs': int(read_metrics(metrics)[-1]['epoch']) + 1 if metrics.is_file() else 0,
            'epoch by validation': chosen['epoch'] if chosen else '',
            **cells('validation', chosen and chosen['val']), **cells('test', chosen and chosen['test']),
            'epoch by test': best['epoch'] if best else '', **cells('best test', best),
            'seconds': f'{run.result["seconds"]:.1f}' if run else '', 'revision': config.get('git') or ''}


def cells(title, metrics):
    return {f'{title} {name}': f'{metrics[name]:.6f}' if metrics else '' for name in METRICS}


def index(root):
    """(data set, study, rows) of every study in root/<data> that has a run."""
    for folder in sorted(path for study in STUDIES for path in root.glob(f'*/{study}')):
        rows = [row_of(path.parent) for path in sorted(folder.rglob('config.json'))]
        if rows:
            yield folder.parent.name, folder.name, rows


def main(argv=None):
    parser = Parser(prog='python -m Experiments.Index', description=__doc__, allow_abbrev=False,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--root', type=Path, default=Path('results'), help='folder of the runs (default: %(default)s)')
    add_place(parser, 'index')
    options = parser.parse_args(argv)
    settle_place(parser, options, 'index', ROOT / 'results')
    tables = list(index(options.root))
    if not tables:
        raise InputError(f'{options.root} holds no run of a study: a folder <data>/<study> was expected there, with '
                         f'<study> one of {", ".join(STUDIES)}.')
    for data, study, rows in tables:
        path = options.to / data / f'{study}.csv'
        write_csv(path, rows)
        print(f'{path}: {len(rows)} runs')


if __name__ == '__main__':
    sys.exit(run_command('python -m Experiments.Index', main))
