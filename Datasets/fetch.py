"""The published data by one command, each file verified: python Datasets/fetch.py tiktok|baby|sports [--to DIR]

checksums.json says where each file is published and what its content is. Files that are there and right are left alone;
what was cut off is gone on with. Nothing takes its name before it is whole and verified.
"""
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from DataHandler import MATRIX_SUFFIXES, read_features, read_matrix
from Datasets.archives import unpack
from Datasets.published import identity, is_known, is_same, published, require_published
from Datasets.transfer import TransferError, from_drive, over_http
from Params import Parser, number
from Utils.Command import run_command
from Utils.Content import what_is
from Utils.Digests import file_digests
from Utils.Errors import InputError
from Utils.TimeLogger import log

PARTIAL = '.fetch'  # folder for what is not whole yet
ARCHIVES = ('.zip', '.tar', '.tar.gz', '.tgz', '.rar', '.7z')  # as someone may have saved one
NOT_FOUND = 404


def build_parser():
    parser = Parser(prog='fetch.py', description=__doc__.split('\n')[0], allow_abbrev=False)
    parser.add_argument('name', help=f'the data set: {", ".join(published())}')
    parser.add_argument('--to', metavar='DIR', help='folder to fill; default: Datasets/NAME')
    parser.add_argument('--mirror', metavar='URL', help='another server: files are asked for at URL/NAME/FILE, and at '
                                                        'URL/FILE where there is none')
    parser.add_argument('--timeout', type=number(float, above=0), default=30, metavar='SECONDS',
                        help='how long to wait for the next bytes')
    return parser


def lacking(name, folder):
    """The published files that are not there yet; InputError where one is there that is another."""
    missing, wrong = [], []
    for file, entry in published()[name]['files'].items():
        path = folder / file
        if not path.exists():
            missing.append(file)
        elif not is_known(entry):
            log(f'{path} is there; no checksum of the published file is known, it is left as it is')
        elif is_same(entry, file_digests(path)):
            log(f'{path} is there, as published')
        else:
            wrong.append(f'{path} (expected: {identity(entry)})')
    if wrong:
        raise InputError(f'There already, but not the published file: {"; ".join(wrong)}. Nothing is overwritten: move '
                         'it away, or choose another folder with --to.')
    return missing


def verify(path, entry, folder):
    """InputError unless the file at the path is the one of the entry; where no checksum of it is known, unless it holds
    features of as many items as the matrices beside it or in the folder have."""
    if is_known(entry):
        found = file_digests(path)
        if not is_same(entry, found):
            what = what_is(path)[0] or 'another file'
            raise InputError(f'what came is {what} of {found["bytes"]:,} bytes with the SHA-256 {found["sha256"]}')
        return
    matrix = next((place / f'trnMat{suffix}' for place in (path.parent, folder) for suffix in MATRIX_SUFFIXES
                   if (place / f'trnMat{suffix}').is_file()), None)
    if matrix is None:
        raise InputError('the matrices, against which it is to be held, are not there')
    read_features(path, read_matrix(matrix).shape[1])


def settle(path, folder, entry):
    """Give a verified file its name."""
    size = path.stat().st_size
    path.replace(folder / path.name)
    log(f'{folder / path.name}: {size:,} bytes, '
        + ('as published' if is_known(entry) else 'one row per item; no checksum of the published file is known'))


def fetch_files(name, folder, missing, mirror, timeout):
    """Each missing file from its own address; in words, those that did not come."""
    entry, failures = published()[name], []
    source = entry['source']
    for number_, file in enumerate(missing, 1):
        official = f'{source["files"]}/{file}' if 'files' in source else f'{source["archive"]} (an archive)'
        addresses = [f'{mirror}/{name}/{file}', f'{mirror}/{file}'] if mirror else [official]
        partial, expected = folder / PARTIAL / file, entry['files'][file]
        try:
            fetch_one(addresses, partial, expected, folder, timeout)
            settle(partial, folder, expected)
        except (TransferError, InputError) as error:
            failures.append(f'{file} ({addresses[0]}: {str(error).rstrip(".")}; expected: {identity(expected)}'
                            + (f', as published at {official})' if mirror else ')'))
            if getattr(error, 'broken', False):  # the others would fare alike
                return failures + missing[number_:]
    return failures


def fetch_one(addresses, partial, entry, folder, timeout):
    """From the first of the addresses that has it into the partial file, and verified."""
    resumed = partial.exists()
    for address in addresses:
        try:
            over_http(address, partial, timeout)
            break
        except TransferError as error:
            if error.status != NOT_FOUND or address == addresses[-1]:
                raise
    try:
        verify(partial, entry, folder)
    except InputError:
        partial.unlink()
        if not resumed:
            raise
        fetch_one(addresses, partial, entry, folder, timeout)  # what lay there may have been of another file


def fetch_archive(name, folder, missing, timeout):
    """The missing files out of the archive, which is fetched unless it lies in the folder; failures as above."""
    address = published()[name]['source']['archive']
    given = next((folder / f'{name}{suffix}' for suffix in ARCHIVES if (folder / f'{name}{suffix}').is_file()), None)
    fetched = folder / PARTIAL / name

    try:
        if not given:
            from_drive(address, fetched, timeout)
        left = take_out(given or fetched, name, folder, missing)
        reason = f'the archive has no {", ".join(left)}'
    except (TransferError, InputError) as error:
        left, reason = missing, str(error).rstrip('.')
    finally:
        fetched.unlink(missing_ok=True)  # it is whole; what came of one that was cut off has another name
    return [f'{", ".join(left)} ({address}: {reason}; the archive itself may be put there as {name}.zip, whatever its '
            'kind)'] if left else []


def take_out(archive, name, folder, missing):
    """Verify all published files that the archive has and settle those that are missing; the names of missing ones that
    it has not."""
    files = published()[name]['files']
    with TemporaryDirectory(dir=folder / PARTIAL) as unpacked:
        found = unpack(archive, files, Path(unpacked))
        for file in (file for file in files if file in found):  # the matrices first
            verify(Path(unpacked, file), files[file], folder)
        for file in (file for file in missing if file in found):
            settle(Path(unpacked, file), folder, files[file])
    return [file for file in missing if file not in found]


def fetch(name, folder, mirror=None, timeout=30):
    """Fill the folder with the published files of the data set; InputError names those that did not come."""
    require_published(name)
    if mirror and not mirror.startswith(('http://', 'https://')):
        raise InputError(f'--mirror got {mirror!r}, expected an address that begins with http:// or https://.')
    missing = lacking(name, folder)
    if not missing:
        log(f'{folder} has every published file of {name}: nothing to fetch')
        return
    made = not folder.exists()
    (folder / PARTIAL).mkdir(parents=True, exist_ok=True)
    try:
        if 'archive' in published()[name]['source'] and not mirror:
            failures = fetch_archive(name, folder, missing, timeout)
        else:
            failures = fetch_files(name, folder, missing, mirror and mirror.rstrip('/'), timeout)
    finally:
        for path in (folder / PARTIAL).glob('*'):
            if path.is_file() and path.stat().st_size == 0:
                path.unlink()
        with suppress(OSError):  # not empty
            (folder / PARTIAL).rmdir()
            if made:
                folder.rmdir()
    if failures:
        raise InputError(f'{folder} still lacks {", ".join(failures)}: get that by other means (a browser, another '
                         'machine), put it there and give this command again, which checks it, or name another server '
                         'with --mirror.')
    log(f'{folder} has every published file of {name}; python Datasets/check.py tells what is in them')


def start(argv):
    arguments = build_parser().parse_args(argv)
    fetch(arguments.name, Path(arguments.to or f'Datasets/{arguments.name}'), arguments.mirror, arguments.timeout)


def main(argv=None):
    return run_command('fetch.py', lambda: start(argv))


if __name__ == '__main__':
    sys.exit(main())
