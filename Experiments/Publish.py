"""Where pictures and tables go: into a folder of their own, or, with --publish, into figures/ and the pages that show
them. Nothing that is committed changes without --publish."""
import os
from pathlib import Path

from Experiments.Tables import FIGURES
from Utils.Errors import InputError

DRAWN = Path('results/figures')
NOT_PUBLISHED = ('to', 'runs', 'root', 'quick')  # flags that make something else than what the pages show


def add_place(parser, name):
    """The flags --to and --publish; name: of the picture."""
    parser.add_argument('--to', type=Path, metavar='DIR',
                        help=f'folder for the picture and the tables, made if absent (default: {DRAWN / name})')
    parser.add_argument('--publish', action='store_true',
                        help='renew what is committed: the picture and the tables, and README.md and docs/RESULTS.md '
                             'that show them')


def settle_place(parser, options, name, published=FIGURES):
    """options.to: the folder to write into, with --publish the published one. InputError where other runs would be
    published, or where nothing can be written."""
    others = [flag for flag in NOT_PUBLISHED if getattr(options, flag, None) not in (None, parser.get_default(flag))]
    if options.publish and others:
        raise InputError(f'--publish renews what is committed, from the published runs; --{others[0]} asks for '
                         'something else: leave one of the two out.')
    if options.to and options.to.resolve() == published:
        raise InputError(f'--to {options.to} is the folder of the published pictures and tables: --publish renews '
                         'them; give another folder for your own.')
    options.to = published if options.publish else options.to or DRAWN / name
    there = next(path for path in (options.to, *options.to.parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise InputError(f'{options.to} can be no folder for pictures and tables: {there} is none that can be written '
                         'to. Choose another with --to.')
