"""A file from a server or a Google drive into a partial file, gone on with where it was cut off: by pooch and gdown."""
import time
from contextlib import ExitStack
from types import SimpleNamespace

from Utils.Errors import InputError
from Utils.TimeLogger import progress_of_bytes

ATTEMPTS = 5  # that may be cut off, as long as each of them brings something
PAUSE = 1  # seconds between them
BLOCK = 2**14  # bytes written at a time; of the last ones before a break less than this is lost
PARTIAL_CONTENT, RANGE_NOT_SATISFIABLE = 206, 416


class TransferError(Exception):
    """A file did not come, and why, as the end of a sentence; broken: the connection as such failed."""

    def __init__(self, reason, broken=False, status=None):
        super().__init__(reason)
        self.broken, self.status = broken, status


def libraries():
    """(pooch, gdown, requests), which nothing else needs."""
    try:
        import gdown
        import pooch
        import requests
    except ImportError as error:
        raise InputError(f'Fetching needs the library {error.name}, which is not installed: pip install -r '
                         'requirements.txt.') from error
    return pooch, gdown, requests


def over_http(address, partial, timeout):
    """Append to the partial file what it lacks of the one at the address; TransferError where that fails.

    timeout: seconds to wait for the next bytes. What came of a file that was cut off stays.
    """
    try:
        persistently(lambda: request(address, partial, timeout), partial, timeout)
    except TransferError as error:
        if error.status != RANGE_NOT_SATISFIABLE or not partial.is_file():
            raise
        partial.unlink()  # it is no shorter than the file that is there
        persistently(lambda: request(address, partial, timeout), partial, timeout)


def request(address, partial, timeout):
    """A single request, for what comes after the bytes that are there."""
    pooch = libraries()[0]
    there = partial.stat().st_size if partial.is_file() else 0
    headers = {'Accept-Encoding': 'identity', **({'Range': f'bytes={there}-'} if there else {})}
    with ExitStack() as stack:
        bar = stack.enter_context(progress_of_bytes(partial.name))
        file = stack.enter_context(open(partial, 'ab'))

        def answered(response, **_):
            stack.callback(response.close)
            if response.ok and not response.is_redirect:
                begins = there if response.status_code == PARTIAL_CONTENT else 0  # not every server knows ranges
                file.truncate(begins)
                bar.reset(begins + int(response.headers.get('Content-Length', 0)))
                bar.update(begins)

        def write(block):
            file.write(block)
            bar.update(len(block))

        downloader = pooch.HTTPDownloader(chunk_size=BLOCK, timeout=timeout, headers=headers,
                                          hooks={'response': answered})
        downloader(address, SimpleNamespace(write=write, flush=file.flush), None)


def from_drive(address, target, timeout):
    """A file of a Google drive -> target; beside it lies what came of an earlier attempt. TransferError as above."""
    gdown = libraries()[1]

    def download():
        with progress_of_bytes(target.name) as bar:
            def grown(size, total):
                bar.total = total
                bar.update(size - bar.n)

            gdown.download(url=address, output=str(target), quiet=True, use_cookies=False, resume=True, timeout=timeout,
                           progress=grown)

    try:
        persistently(download, target, timeout)
    except TransferError as error:
        if 'requested byte range' not in str(error.__cause__):
            raise
        for path in parts_of(target):  # a server that knows no ranges: from the beginning
            path.unlink()
        persistently(download, target, timeout)


def persistently(download, partial, timeout):
    """Call the function again where it was cut off, as long as that brings something; TransferError where it does not.

    partial: the file that grows, or what the names of the files begin with that do.
    """
    _, gdown, requests = libraries()
    cut_off = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError,
               gdown.exceptions.DownloadError)
    sizes = [bytes_of(partial)]
    while True:
        try:
            return download()
        except gdown.exceptions.FileURLRetrievalError as error:
            raise TransferError(f'the drive gives no file ({" ".join(str(error).split())[:200]})') from error
        except cut_off as error:
            sizes.append(bytes_of(partial))
            if sizes[-1] <= sizes[-2] or len(sizes) > ATTEMPTS:
                raise TransferError(told(error, sizes[-1], timeout), broken=True) from error
            time.sleep(PAUSE)
        except requests.HTTPError as error:
            raise TransferError(f'the server answers {error.response.status_code} {error.response.reason}',
                                status=error.response.status_code) from error
        except (requests.RequestException, ValueError) as error:  # an address that is none, endless redirections
            raise TransferError(f'{error}') from error


def parts_of(partial):
    return partial.parent.glob(f'{partial.name}*')


def bytes_of(partial):
    return sum(path.stat().st_size for path in parts_of(partial))


def told(error, size, timeout):
    """Why a connection failed, in words."""
    text = str(error)
    if 'timed out' in text:
        reason = f'nothing came for {timeout:g} seconds'
    elif cause := getattr(error.args[0] if error.args else None, 'reason', None):
        reason = f'there is no connection, {str(cause).rpartition(": ")[2]}'
    else:
        reason = 'the connection broke off'
    return reason + (f' ({size:,} bytes have come and are kept: the same command goes on after them)' if size else '')
