"""Published pickles -> .npz beside them, so that nothing is unpickled again: python Datasets/convert.py NAME

The suite reads an .npz in place of a .pkl of the same stem. The numbers are the same; the pickles stay as they are.
"""
import sys
from pathlib import Path

import scipy.sparse as sp

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from DataHandler import SPLITS, find_folder, interactions, read_matrix
from Params import Parser
from Utils.Errors import InputError


def convert(folder, out):
    """Write the .npz of every matrix that lies in the folder as a pickle alone; their paths."""
    written = []
    for stem in SPLITS.values():
        source, target = folder / f'{stem}.pkl', out / f'{stem}.npz'
        if target.exists():
            print(f'{target} is there already')
        elif source.is_file():
            matrix = interactions(read_matrix(source))
            partial = out / f'{stem}.partial.npz'
            sp.save_npz(partial, matrix)
            partial.replace(target)
            written.append(target)
            print(f'{target}: {matrix.shape[0]:,} x {matrix.shape[1]:,}, {matrix.nnz:,} interactions')
        else:
            raise InputError(f'{source} is not there: nothing to convert.')
    return written


def main(argv=None):
    parser = Parser(prog='convert.py', description=__doc__.split('\n')[0], allow_abbrev=False)
    parser.add_argument('name', help='the data set: a folder below --data_dir')
    parser.add_argument('--data_dir', default='Datasets', help='folder that holds the data set folders')
    parser.add_argument('--out', type=Path, help='another folder for the .npz files')
    try:
        arguments = parser.parse_args(argv)
        folder = find_folder(Path(arguments.data_dir), arguments.name)
        if arguments.out:
            arguments.out.mkdir(parents=True, exist_ok=True)
        convert(folder, arguments.out or folder)
    except InputError as error:
        print(f'convert.py: {error}', file=sys.stderr)
        return 2
    except OSError as error:
        print(f'convert.py: {error.filename or "a file"} cannot be read or written ({error.strerror}).',
              file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
