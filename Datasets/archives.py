"""Files by name out of an archive of any folders: zip or tar, nothing but these names, each of them once."""
import shutil
import tarfile
import zipfile
from contextlib import contextmanager
from pathlib import PurePosixPath

from Utils.Content import what_is
from Utils.Errors import InputError

LARGEST = 2**33  # bytes of one file: more is no feature file of these data sets
UNPACK = 'unpack it by other means and put the files there'


@contextmanager
def opened(path):
    """Yields (name -> size, name -> how to open it, as one function) of the plain files in an archive."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: info for info in archive.infolist() if not info.is_dir()}
            yield {name: info.file_size for name, info in members.items()}, lambda name: archive.open(members[name])
    elif tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            members = {info.name: info for info in archive if info.isfile()}
            yield {name: info.size for name, info in members.items()}, lambda name: archive.extractfile(members[name])
    else:
        kind = what_is(path)[0]
        raise InputError(f'{path} is {kind or "no archive that is known"}, where a zip or tar archive was expected: '
                         f'{UNPACK}.')


def unpack(path, wanted, folder):
    """Write the files of the archive whose last names are wanted into the folder, under these; the names that were
    found. InputError where it is damaged or has two of a name; nothing is written anywhere else, whatever it says."""
    try:
        with opened(path) as (sizes, opener):
            places = {}
            for place in sizes:
                name = PurePosixPath(place).name
                if name in wanted and '__MACOSX' not in place:
                    places.setdefault(name, []).append(place)
            for name, found in places.items():
                if len(found) > 1:
                    raise InputError(f'{path} has {name} {len(found)} times ({", ".join(found)}): {UNPACK}.')
                if sizes[found[0]] > LARGEST:
                    raise InputError(f'{path} has a {name} of {sizes[found[0]]:,} bytes, more than is read: {UNPACK}.')
                with opener(found[0]) as source, open(folder / name, 'wb') as target:
                    shutil.copyfileobj(source, target, 2**20)
            return set(places)
    except (InputError, OSError):
        raise
    except Exception as error:  # zipfile, tarfile and each way of packing have their own for a damaged archive
        raise InputError(f'{path} cannot be unpacked ({type(error).__name__}: {error}): it may be cut short, damaged '
                         'or locked by a password.') from error
