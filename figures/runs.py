"""The command line that the figures share: where the runs are, making those that are missing, and where to draw."""
import argparse
import shlex
from pathlib import Path

from Experiments.Jobs import Job, make_runs
from Experiments.Publish import add_place, settle_place
from Experiments.Tables import PAGES, write_csv, write_markdown
from Params import Parser
from Utils.Errors import InputError
from Utils.TimeLogger import log

# What our runs on TikTok have in common: the published command with d = 64 in place of 512, and two of its modalities
BASE = ('--data tiktok --modalities image audio --reg 1e-4 --ssl_reg 1e-2 --trans 1 --e_loss 0.1 --latdim 64 '
        '--gnn_layer 1 --temp 0.5 --steps 5')
MULTI_LEVEL = '--cl_method 1 --cl_sample 1024'


def command_line(name, description, root=None, seeds=(421,), runs=False, data=True):
    """An argparse parser with the flags that these scripts share. root: the default folder of the runs that it can
    make; runs: whether it takes any others; data: whether it needs the data sets."""
    parser = Parser(
        prog=f'figures/{name}.py', allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter,
        description=description,
        epilog='With --run, flags that are not listed here go to Main.py, after those of the script, for every run.'
        if root else None)
    if root:
        parser.add_argument('--run', action='store_true', help='make the runs that are missing, then draw')
        parser.add_argument('--seeds', type=int, nargs='+', default=list(seeds), metavar='SEED',
                            help='seeds of the runs that --run makes (default: %(default)s)')
        parser.add_argument('--root', type=Path, default=root, help='folder of the runs (default: %(default)s)')
    if runs:
        parser.add_argument('--runs', type=Path, nargs='+', metavar='RUN',
                            help='folders of any runs, in place of those in --root; also one that holds seed<S>/ of '
                                 'several seeds')
    if data:
        parser.add_argument('--data_dir', default='Datasets',
                            help='folder that holds the data set folders (default: %(default)s)')
    add_place(parser, name)
    parser.set_defaults(name=name)
    return parser


def read_command_line(parser, argv):
    """(options, flags for Main.py); flags that only make sense with --run are refused without it."""
    options, flags = parser.parse_known_args(argv)
    if flags and not getattr(options, 'run', None):
        raise InputError(f'{" ".join(flags)}: not known here' + (
            '; flags for Main.py are taken with --run alone.' if 'run' in options else ' (--help lists every flag).'))
    if getattr(options, 'run', None) and getattr(options, 'runs', None):
        raise InputError('--run makes the runs in --root; leave out either it or --runs.')
    settle_place(parser, options, options.name)
    return options, flags


def jobs_of(variants, options, flags=()):
    """Jobs in root/VARIANT/seed<S>; variants: name -> flags as one text."""
    return [Job(options.root / name / f'seed{seed}',
                (*shlex.split(text), *flags, '--seed', str(seed), '--data_dir', options.data_dir))
            for name, text in variants.items() for seed in options.seeds]


def provide(jobs, name, options):
    """With --run make the jobs' runs; without it say which are missing, if any, and how to make them."""
    if options.run:
        make_runs(jobs)
    else:
        absent = [job for job in jobs if not (job.folder / 'result.json').is_file()]
        if absent:
            log(f'{len(absent)} of {len(jobs)} runs are not there (the first: {absent[0].folder}). '
                f'{how_to(name)} makes them; --root says where else they are.')


def how_to(name):
    return f'python figures/{name}.py --run --data_dir DIR'


def none_there(name, where):
    return InputError(f'No finished run in {where}. {how_to(name)} makes those of this figure, in time; --root '
                      'says where else they are.')


def write_tables(name, rows, options, markdown=None):
    """NAME.csv and NAME.md in options.to; markdown: rows for the latter where they are not the same."""
    write_csv(options.to / f'{name}.csv', rows)
    print(write_markdown(name, markdown or rows, options.to, PAGES if options.publish else ()))
