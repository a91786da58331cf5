"""Published data by one command, against a server on the loopback address: no test needs the internet."""
import hashlib
import io
import json
import pickle
import tarfile
import threading
import zipfile
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from conftest import planted

from Datasets import fetch, published, transfer
from Utils.Digests import file_digests

REAL = Path(__file__).resolve().parent.parent.parent / 'shared' / 'data'


class Server:
    """Answers for files from a dictionary of contents by path; how, say the other attributes."""

    def __init__(self):
        self.files, self.asked = {}, []  # (path, where it was to begin) of each request
        self.ranges = True  # whether it knows them
        self.at_most = None  # bytes sent before it breaks off
        self.stall = threading.Event()  # set: it may go on
        self.stall.set()
        self.redirect = {}

    def answer(self, handler):
        path = handler.path.split('?')[0]
        begins = int(handler.headers.get('Range', 'bytes=0-')[6:-1])
        self.asked.append((path, begins))
        if path in self.redirect:
            handler.send_response(302)
            handler.send_header('Location', self.redirect[path])
            handler.send_header('Content-Length', '0')
            handler.end_headers()
            return
        content = self.files.get(path)
        if content is None or (self.ranges and begins and begins >= len(content)):
            handler.send_error(404 if content is None else 416)
            return
        begins = begins if self.ranges else 0
        handler.send_response(206 if begins else 200)
        if begins:
            handler.send_header('Content-Range', f'bytes {begins}-{len(content) - 1}/{len(content)}')
        handler.send_header('Content-Length', str(len(content) - begins))
        handler.end_headers()
        with suppress(OSError):  # nobody listens any more
            handler.wfile.write(content[begins:][:self.at_most])
            handler.wfile.flush()
        self.stall.wait(10)


@pytest.fixture
def server(monkeypatch):
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            server.answer(self)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(('127.0.0.1', 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        server.address = f'http://127.0.0.1:{running.server_port}'
        monkeypatch.setenv('NO_PROXY', '127.0.0.1')
        monkeypatch.setattr(transfer, 'PAUSE', 0)
        monkeypatch.setattr(transfer, 'BLOCK', 50)  # the files here are small
        yield server
        server.stall.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def contents(rng, tmp_path):
    """The files of a data set, by name."""
    matrices, features = planted(rng)
    files = {f'{stem}.pkl': pickle.dumps(matrix) for stem, matrix in matrices.items()}
    for name, table in features.items():
        file = io.BytesIO()
        np.save(file, table)
        files[f'{name}_feat.npy'] = file.getvalue()
    return files


@pytest.fixture
def toy(server, contents, tmp_path, monkeypatch):
    """The data set as a published one, on that server: fetch.py's exit code for flags, and the folder."""
    write_checksums(tmp_path, monkeypatch, contents, {'files': f'{server.address}/some/where'})
    server.files = {f'/some/where/{name}': content for name, content in contents.items()}
    folder = tmp_path / 'data' / 'toy'
    return lambda *flags: fetch.main(['toy', '--to', str(folder), *flags]), folder


def write_checksums(tmp_path, monkeypatch, contents, source, unknown=()):
    files = {}
    for name, content in contents.items():
        (tmp_path / 'one').write_bytes(content)
        digests = file_digests(tmp_path / 'one')
        known = ('git_blob',) if name.endswith('.npy') else ('sha256', 'git_blob')
        files[name] = {} if name in unknown else {kind: digests[kind] for kind in known}
    (tmp_path / 'one').unlink()
    (tmp_path / 'checksums.json').write_text(json.dumps({
        'sets': {'toy': {'source': source, 'interactions_sha256': '', 'files': files}}, 'other_features': []}))
    monkeypatch.setattr(published, 'CHECKSUMS', tmp_path / 'checksums.json')


def there(folder):
    """Every file in the folder, also below it and hidden."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def one_line(capsys, *words):
    told = capsys.readouterr().err
    assert told.count('\n') == 1
    assert 'Traceback' not in told
    for word in words:
        assert word in told
    return told


def test_whole(toy, contents, capsys, server):
    run, folder = toy
    assert run() == 0
    assert there(folder) == contents
    assert 'every published file of toy' in capsys.readouterr().out
    assert not (folder / '.fetch').exists()
    asked = len(server.asked)
    assert run() == 0
    assert len(server.asked) == asked, 'what is there is not asked for'
    printed = capsys.readouterr()
    assert 'nothing to fetch' in printed.out
    assert not printed.err, 'no bar where nobody looks'


@pytest.mark.parametrize('ranges', [True, False])
def test_cut_short_is_gone_on_with(toy, contents, server, capsys, ranges):
    """Within one command, and by the next one where the server breaks off too often."""
    run, folder = toy
    server.ranges = ranges
    server.at_most = max(map(len, contents.values())) // 3
    if ranges:
        assert run() == 0
        assert max(begins for _, begins in server.asked) > 2 * server.at_most - 100
    else:
        assert run() == 2
        one_line(capsys, 'the connection broke off', '0 bytes have come and are kept')
        assert not any((folder / name).exists() for name in contents if len(contents[name]) > server.at_most)
        server.at_most = None
        asked = len(server.asked)
        assert run() == 0
        assert len(server.asked) - asked == len(contents), 'each once: it is known at once that the whole comes'
    assert there(folder) == contents


def test_what_came_before_the_command_was_stopped_is_used(toy, contents, server):
    run, folder = toy
    (folder / '.fetch').mkdir(parents=True)
    (folder / '.fetch' / 'trnMat.pkl').write_bytes(contents['trnMat.pkl'][:100])
    (folder / '.fetch' / 'valMat.pkl').write_bytes(contents['valMat.pkl'])
    (folder / '.fetch' / 'tstMat.pkl').write_bytes(b'the beginning of something else')
    assert run() == 0
    assert server.asked[0] == ('/some/where/trnMat.pkl', 100)
    assert there(folder) == contents


@pytest.mark.parametrize('wrong', [b'<!DOCTYPE html><title>Sign in</title>', b'version https://git-lfs.github.com/spec/v1\n'
                                   b'oid sha256:99\nsize 5\n', b'\x80\x04other'])
def test_wrong_content(toy, contents, server, capsys, wrong):
    """The others come; the file is not there, not even in part; what to do by hand is said."""
    run, folder = toy
    server.files['/some/where/valMat.pkl'] = wrong
    assert run() == 2
    kind = {60: 'an HTML page', 118: 'a git-lfs pointer', 128: 'a pickle'}[wrong[0]]
    one_line(capsys, f'{folder} still lacks valMat.pkl ({server.address}/some/where/valMat.pkl: what came is '
             f'{kind}', 'put it there and give this command again', file_sha(contents['valMat.pkl']), '--mirror')
    assert there(folder) == {name: content for name, content in contents.items() if name != 'valMat.pkl'}
    (folder / 'valMat.pkl').write_bytes(contents['valMat.pkl'])
    assert run() == 0, 'put there by hand'


def file_sha(content):
    return hashlib.sha256(content).hexdigest()


def test_not_found(toy, contents, server, capsys):
    run, folder = toy
    del server.files['/some/where/text_feat.npy']
    assert run() == 2
    one_line(capsys, 'lacks text_feat.npy (', 'the server answers 404', 'git blob ')
    assert set(there(folder)) == set(contents) - {'text_feat.npy'}
    server.files.clear()
    assert run('--to', str(folder.parent / 'other')) == 2
    assert not folder.parent.joinpath('other').exists(), 'nothing came: no folder is left'


def test_slow(toy, contents, server, capsys):
    run, folder = toy
    server.stall.clear()
    server.at_most = 50
    assert run('--timeout', '0.2') == 2
    one_line(capsys, 'nothing came for 0.2 seconds', '250 bytes have come', '), valMat.pkl, tstMat.pkl, ')
    assert set(there(folder)) == {'.fetch/trnMat.pkl'}
    server.stall.set()
    server.at_most = None
    assert run() == 0
    assert there(folder) == contents


def test_no_network(toy, server, capsys):
    run, folder = toy
    assert run('--mirror', 'http://127.0.0.1:9') == 2
    one_line(capsys, 'there is no connection, ', 'Connection refused', '(http://127.0.0.1:9/toy/trnMat.pkl: ',
             f'as published at {server.address}/some/where/trnMat.pkl)')
    assert not folder.exists()
    assert run('--mirror', 'somewhere') == 2
    one_line(capsys, 'begins with http')


@pytest.mark.parametrize('place', ['/mirror/toy/', '/mirror/'])
def test_mirrors(toy, contents, server, place):
    run, folder = toy
    server.files = {f'{place}{name}': content for name, content in contents.items()}
    assert run('--mirror', f'{server.address}/mirror/') == 0
    assert there(folder) == contents


def test_redirections(toy, contents, server):
    run, folder = toy
    server.redirect['/some/where/trnMat.pkl'] = f'{server.address}/elsewhere'
    server.files['/elsewhere'] = contents['trnMat.pkl']
    server.at_most = len(contents['trnMat.pkl']) // 2 + 1
    assert run() == 0
    assert there(folder) == contents


def test_a_file_that_is_there_and_wrong_is_kept(toy, contents, server, capsys):
    run, folder = toy
    folder.mkdir(parents=True)
    (folder / 'trnMat.pkl').write_bytes(b'mine')
    assert run() == 2
    one_line(capsys, f'{folder / "trnMat.pkl"} (expected: SHA-256', 'Nothing is overwritten')
    assert there(folder) == {'trnMat.pkl': b'mine'}
    assert not server.asked


def archive_of(files, kind):
    file = io.BytesIO()
    if kind == 'zip':
        with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(fileobj=file, mode='w:gz') as archive:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture
def packed(server, contents, tmp_path, monkeypatch):
    """The same out of an archive, of which only the matrices are known by checksum."""
    write_checksums(tmp_path, monkeypatch, contents, {'archive': f'{server.address}/drive'},
                    unknown=('image_feat.npy', 'text_feat.npy'))
    folder = tmp_path / 'data' / 'toy'
    return lambda *flags: fetch.main(['toy', '--to', str(folder), *flags]), folder


@pytest.mark.parametrize(('kind', 'ranges'), [('zip', True), ('tar.gz', True), ('zip', False)])
def test_an_archive(packed, contents, server, rng, capsys, tmp_path, kind, ranges):
    """What is not expected is left in it, wherever it wants to go; a transfer that breaks off goes on."""
    run, folder = packed
    odd = {'toy/large.bin': rng.bytes(3 * 10**6), '../../evil.txt': b'x', '/tmp/evil.txt': b'x',
           '__MACOSX/toy/trnMat.pkl': b'x', 'toy/._trnMat.pkl': b'x'}
    server.files['/drive'] = archive_of({**odd, **{f'toy/{name}': content for name, content in contents.items()}}, kind)
    server.at_most, server.ranges = len(server.files['/drive']) // 3, ranges
    if not ranges:
        assert run() == 2
        one_line(capsys, 'the connection broke off')
        assert [name for name in there(folder) if not name.startswith('.fetch/toy')] == []
        server.at_most = None
    assert run() == 0
    assert there(folder) == contents
    assert 'no checksum of the published file is known' in capsys.readouterr().out
    assert not list(tmp_path.rglob('*evil*'))
    assert max(begins for _, begins in server.asked) > 500_000
    asked = len(server.asked)
    assert run() == 0
    assert len(server.asked) == asked


def test_damaged_archives(packed, contents, server, capsys):
    run, folder = packed
    whole = {f'toy/{name}': content for name, content in contents.items()}
    cases = (({**whole, 'toy/trnMat.pkl': b'\x80\x04other'}, 'what came is a pickle of 7 bytes'),
             ({**whole, 'old/trnMat.pkl': whole['toy/trnMat.pkl']}, 'trnMat.pkl 2 times'),
             ({**whole, 'toy/text_feat.npy': whole['toy/trnMat.pkl']}, 'text_feat.npy is a pickle'),
             ({name: content for name, content in whole.items() if 'Mat' not in name}, 'the matrices'))
    for files, message in cases:
        server.files['/drive'] = archive_of(files, 'zip')
        assert run() == 2
        one_line(capsys, message, f'({server.address}/drive: ', 'put there as toy.zip')
        assert not folder.exists()
    for content, message in ((archive_of(whole, 'zip')[:-300], 'where a zip or tar'),
                             (b'Rar!\x1a\x07', 'a rar archive'), (b'<html>quota exceeded</html>', 'an HTML page')):
        server.files['/drive'] = content
        assert run() == 2
        one_line(capsys, message)
        assert not folder.exists()
    server.files['/drive'] = archive_of({name: whole[name] for name in whole if 'text' not in name}, 'zip')
    assert run() == 2
    one_line(capsys, 'the archive has no text_feat.npy')
    assert set(there(folder)) == set(contents) - {'text_feat.npy'}


def test_an_archive_put_there_by_hand(packed, contents, server, capsys):
    run, folder = packed
    assert run() == 2
    one_line(capsys, 'the server answers 404', 'put there as toy.zip')
    folder.mkdir(parents=True)
    content = archive_of(contents, 'tar.gz')
    (folder / 'toy.zip').write_bytes(content)
    asked = len(server.asked)
    assert run() == 0
    assert there(folder) == {**contents, 'toy.zip': content}
    assert len(server.asked) == asked


def test_what_can_be_asked_for(capsys):
    assert fetch.main(['movies']) == 2
    one_line(capsys, 'there are: tiktok, baby, sports')


@pytest.mark.skipif(not REAL.is_dir(), reason=f'the published data are not at {REAL}')
def test_the_published_files_from_a_mirror(server, tmp_path, monkeypatch, capsys):
    """All files at hand; those that are not are named with where to get them and what to expect."""
    monkeypatch.setattr(transfer, 'BLOCK', 2**14)
    for name, left in (('tiktok', ('text_feat.npy',)), ('baby', ('image_feat.npy.zip', 'text_feat.npy'))):
        server.files = {f'/{name}/{path.name}': path.read_bytes() for path in (REAL / name).iterdir()}
        assert fetch.main([name, '--to', str(tmp_path / name), '--mirror', server.address]) == 2
        told = one_line(capsys, 'answers 404')
        for file in left:
            assert f'{file} ({server.address}/{name}/{file}: ' in told
            assert published.published()[name]['files'][file]['git_blob'] in told
        for file in set(published.published()[name]['files']) - set(left):
            assert (tmp_path / name / file).read_bytes() == (REAL / name / file).read_bytes()
