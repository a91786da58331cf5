"""Published pickles -> .npz beside them, so that nothing is unpickled again: python Datasets/convert.py NAME

The suite reads an .npz in place of a .pkl of the same stem. The numbers are the same; the pickles stay as they are.
"""
import sys
from pathlib import Path

import scipy.sparse as sp

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from DataHandler import SPLITS, find_folder, interactions, read_matrix
from Params import Parser
from Utils.Command import run_command
from Utils.Errors import InputError


def convert(folder):
    """Write the .npz of every matrix that lies in the folder as a pickle alone."""
    for stem in SPLITS.values():
        source, target = folder / f'{stem}.pkl', folder / f'{stem}.npz'
        if target.exists():
            print(f'{target} is there already')
        elif source.is_file():
            matrix = interactions(read_matrix(source))
            partial = folder / f'{stem}.partial.npz'
            sp.save_npz(partial, matrix)
            partial.replace(target)
            print(f'{target}: {matrix.shape[0]:,} x {matrix.shape[1]:,}, {matrix.nnz:,} interactions')
        else:
            raise InputError(f'{source} is not there: nothing to convert.')


def start(argv):
    parser = Parser(prog='convert.py', description=__doc__.split('\n')[0], allow_abbrev=False)
    parser.add_argument('name', help='the data set: a folder below --data_dir')
    parser.add_argument('--data_dir', default='Datasets', help='folder that holds the data set folders')
    arguments = parser.parse_args(argv)
    convert(find_folder(Path(arguments.data_dir), arguments.name))


def main(argv=None):
    return run_command('convert.py', lambda: start(argv))


if __name__ == '__main__':
    sys.exit(main())
