"""The command line that the figures share: where the runs are, making those that are missing, and where to draw."""
import argparse
import shlex
from pathlib import Path

from Experiments.Grids import OURS
from Experiments.Jobs import Job
from Experiments.Pool import make_runs
from Experiments.Publish import add_place, settle_place
from Experiments.Slots import add_slots, slots_of
from Experiments.Tables import PAGES, write_csv, write_markdown
from Params import Parser
from Utils.Errors import InputError, suggestion
from Utils.TimeLogger import log

DATA = 'tiktok'
# What our runs on TikTok have in common: the published command with d = 64 in place of 512, and two of its modalities
BASE = (f'--data {DATA} --modalities image audio --reg 1e-4 --ssl_reg 1e-2 --trans 1 --e_loss 0.1 --latdim 64 '
        '--gnn_layer 1 --temp 0.5 --steps 5')
MULTI_LEVEL = '--cl_method 1 --cl_sample 1024'
# Flags of Main.py that a script sets, or leaves out, for each of its runs, and what says the same of all of them
SET = {**OURS, 'seed': 'give --seeds', 'out': 'give --root', 'resume': 'what was begun goes on anyway',
       'data': '--data is a flag of the script', 'recommend': 'give --load and one of the runs to Main.py'}
PARTS = ('variants', 'models', 'data', 'jobs', 'devices')  # flags that say which runs are made, and how


def command_line(name, description, root=None, seeds=(421,), runs=False, data=True, variants=True):
    """An argparse parser with the flags that these scripts share. root: the default folder of the runs that it can
    make; runs: whether it takes any others; data: whether it needs the data sets; variants: whether its runs are those
    of variants on one data set."""
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
        add_slots(parser)
    if root and variants:
        parser.add_argument('--variants', nargs='+', default=None, metavar='NAME',
                            help='with --run: make the runs of these alone, by the names of their folders')
        parser.add_argument('--data', default=DATA, metavar='NAME',
                            help='with --run: data set of the runs, whose name then also stands for '
                                 f'{DATA} in the default of --root (default: %(default)s)')
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
    for name in PARTS:
        value = getattr(options, name, None)
        if isinstance(value, (list, int)) and not options.run:
            raise InputError(f'--{name} says which runs --run makes, or how, and is of no use without it: all that is '
                             'there is drawn.')
    own = getattr(options, 'data', None)
    if isinstance(own, str) and own != DATA and options.root == parser.get_default('root'):
        options.root = Path(*(own if part == DATA else part for part in options.root.parts))
    for word in flags:
        name = word.removeprefix('--').partition('=')[0]
        if word.startswith('--') and name in SET:
            raise InputError(f'--{name} cannot be passed on to the runs: {SET[name]}.')
        if word.startswith('--') and name == 'model':
            raise InputError('--model cannot be passed on to the runs: the script sets it for each of them, and '
                             f'--{"variants" if "variants" in options else "models"} says which are made.')
    settle_place(parser, options, options.name)
    return options, flags


def chosen(names, given, flag):
    """Those of the names that the flag gives; all of them where it gives none."""
    for name in given or ():
        if name not in names:
            raise InputError(f'--{flag} got {name!r}. {suggestion(name, names)}There are: {", ".join(names)}.')
    return [name for name in names if not given or name in given]


def jobs_of(variants, options, flags=(), changed=()):
    """Jobs in root/VARIANT/seed<S>, of those that --variants names.

    variants: name -> flags as one text, those of BASE first. What is passed on counts in place of BASE, and of an
    --epoch of the variants. Other flags that a variant sets cannot be passed on; of those in `changed` the variants
    keep theirs, and the others have what was passed on.
    """
    base, jobs = shlex.split(BASE), []
    passed = {word.removeprefix('--').partition('=')[0] for word in flags if word.startswith('--')}
    data = ('--data', options.data) if isinstance(options.data, str) else ()
    names = chosen(list(variants), getattr(options, 'variants', None), 'variants')
    for name in names:
        own = shlex.split(variants[name])[len(base):]
        set_here = {word.removeprefix('--') for word in own if word.startswith('--')}
        clash = sorted(passed & set_here - {'epoch', *changed})
        if clash:
            raise InputError(f'--{clash[0]} cannot be passed on to the runs: it is what tells them apart, and the '
                             f'script sets it ({name}). --variants says which runs are made.')
        if 'epoch' in passed and '--epoch' in own:
            at = own.index('--epoch')
            del own[at:at + 2]
        jobs += [Job(options.root / name / f'seed{seed}',
                     (*base, *data, *flags, *own, '--seed', str(seed), '--data_dir', options.data_dir))
                 for seed in options.seeds]
    return jobs


def provide(jobs, name, options, flags=(), source=None):
    """With --run make the jobs' runs, and what else their source says; without it say which are missing, if any, and
    how to make them."""
    if options.run:
        make_runs(jobs, slots_of(options, flags), source=source)
    else:
        absent = [job for job in jobs if not job.finished()]
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
