"""What is said of the files in a folder: published ones, other people's, unread ones, and what is none of it."""
import csv
import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import zipfile
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from conftest import planted, random_matrix, write_dataset

import Main
from Datasets import check, convert, prepare, published
from Main import main
from Utils.Content import what_is
from Utils.Digests import file_digests
from Utils.Errors import InputError
from Utils.SafePickle import load_sparse_pickle

ROOT = Path(__file__).resolve().parent.parent
REAL = ROOT.parent / 'shared' / 'data'
CASES = ROOT / 'tests' / 'cases'
real = pytest.mark.skipif(not REAL.is_dir(), reason=f'the published data are not at {REAL}')


@pytest.fixture
def folder(rng, tmp_path):
    return write_dataset(tmp_path / 'tiny', *planted(rng))


def told(folder):
    """check.py's (number of wrong things, lines)."""
    report = check.check(folder)
    return report.wrong, report.lines


def line(lines, word):
    found = [text for text in lines if word in text]
    assert len(found) == 1, (word, lines)
    return found[0]


def copied(name, tmp_path, to=None):
    folder = tmp_path / (to or name)
    shutil.copytree(REAL / name, folder)
    return folder


@real
@pytest.mark.parametrize('name', ['tiktok', 'baby', 'sports'])
def test_the_published_files_are_known(name, tmp_path):
    """In a folder of any name, as pickles or converted."""
    wrong, lines = told(REAL / name)
    assert not wrong
    assert f'interactions: those of {name}, as published' in lines
    for path in (REAL / name).iterdir():
        text = line(lines, f'  {path.name}: ')
        assert text.endswith('known, the published file') or ("known: S3-Rec's item attributes" in text
                                                              and 'not the published features' in text)
    folder = copied(name, tmp_path, 'renamed')
    assert convert.main(['renamed', '--data_dir', str(tmp_path)]) == 0
    wrong, lines = told(folder)
    assert not wrong
    assert f'interactions: those of {name}, as published' in lines
    assert line(lines, '  trnMat.pkl: ').endswith(f'known, the published file of {name}')
    assert 'trnMat.pkl: not read, trnMat.npz is, which holds the same' in lines
    for path in folder.glob('*.pkl'):
        path.unlink()
    assert f'interactions: those of {name}, as published' in told(folder)[1]


@real
def test_the_list_itself():
    """Git's names of the content at hand are those of the list that the files are published with."""
    found = 0
    for name, entry in published.published().items():
        for file, expected in entry['files'].items():
            assert file.endswith('.pkl') <= ({'sha256', 'git_blob', 'bytes'} == set(expected))
            if (REAL / name / file).exists():
                assert file_digests(REAL / name / file) == expected
                found += 1
    assert found == 11
    shown = (REAL / 'README.md').read_text()
    for entry in published.other_features():
        assert entry['sha256'] in shown
        assert f'{entry["bytes"]:,}' in shown or 'S3-Rec' in entry['what']


def test_the_modalities_are_those_of_table_one():
    letters = {'V': 'image', 'A': 'audio', 'T': 'text'}
    with open(ROOT / 'figures' / 'published_table1.csv', newline='') as file:
        for row in csv.DictReader(file):
            assert (set(published.published_modalities(row['folder']))
                    == {letters[letter] for letter in row['modalities'].split(', ')})


@real
def test_which_modalities_of_the_paper_lack(tmp_path):
    lacking = 'modalities of the paper: image, text, audio; not here: text (python Datasets/fetch.py tiktok --to '
    assert line(told(REAL / 'tiktok')[1], 'of the paper').startswith(lacking)
    folder = copied('tiktok', tmp_path, 'renamed')
    (folder / 'audio_feat.npy').unlink()
    assert 'not here: text, audio (' in line(told(folder)[1], 'of the paper')
    np.save(folder / 'audio_feat.npy', np.ones((6710, 2)))
    np.save(folder / 'text_feat.npy', np.ones((6710, 2)))
    assert not [text for text in told(folder)[1] if 'of the paper' in text]


@real
def test_published_files_in_the_wrong_place(tmp_path):
    folder = copied('tiktok', tmp_path)
    shutil.copy(folder / 'audio_feat.npy', folder / 'image_feat.npy')
    shutil.copy(folder / 'audio_feat.npy', folder / 'audio_copy.npy')
    shutil.copy(folder / 'valMat.pkl', folder / 'tstMat.pkl')
    lines = told(folder)[1]
    assert "WRONG: " in line(lines, "image_feat.npy: known: it is tiktok's published audio_feat.npy under another name")
    assert 'WRONG' not in line(lines, 'audio_copy.npy: known: it is')
    assert 'WRONG' in line(lines, "tstMat.pkl: known: it is tiktok's published valMat.pkl under another name")
    assert 'they are not those of it' in line(lines, 'WRONG: interactions: of no published data set')
    folder = copied('baby', tmp_path, 'sports')
    assert 'of baby, not of sports' in line(told(folder)[1], 'WRONG: ' + file_digests(folder / 'trnMat.pkl')['sha256'])
    folder = copied('tiktok', tmp_path, 'other')
    matrix = load_sparse_pickle(folder / 'valMat.pkl')
    sp.save_npz(folder / 'valMat.npz', matrix.tocsr()[::-1])
    lines = told(folder)[1]
    assert 'they hold different interactions' in line(lines, 'WRONG: valMat.pkl: not read, valMat.npz is')
    text = line(lines, 'audio_feat.npy: known, the published file of tiktok, but')
    assert 'the rows may belong to other items' in text


@real
def test_features_in_which_the_items_are_numbered_otherwise(tmp_path, monkeypatch):
    """MMRec's files are not at hand: another's checksum stands in the list for theirs. They are wrong beside the
    published matrices only."""
    folder = copied('baby', tmp_path)
    np.save(folder / 'text_feat.npy', np.random.default_rng(0).normal(size=(7050, 3)))
    content = json.loads(published.CHECKSUMS.read_text())
    for entry in content['other_features']:
        if entry['what'].startswith("MMRec's text features of Baby"):
            entry['sha256'] = file_digests(folder / 'text_feat.npy')['sha256']
    (tmp_path / 'list.json').write_text(json.dumps(content))
    monkeypatch.setattr(published, 'CHECKSUMS', tmp_path / 'list.json')
    wrong, lines = told(folder)
    assert wrong == 1
    text = line(lines, "text_feat.npy: known: MMRec's text features of Baby")
    assert 'WRONG' in text
    assert 'ascending ASIN' in text
    assert 'python Datasets/align.py' in text
    other = folder.rename(tmp_path / 'mine')
    for stem in ('trnMat', 'valMat', 'tstMat'):
        (other / f'{stem}.pkl').write_bytes(pickle.dumps(load_sparse_pickle(other / f'{stem}.pkl').tocsr()[:, ::-1]))
    wrong, lines = told(other)
    assert not wrong
    assert 'right beside matrices with the same numbers only' in line(lines, "MMRec's text features")


UNREAD = {'smell_feat.pt': b'PK\x03\x04', 'audio_feat.zip': b'PK\x03\x04', 'taste_feat.NPY': b'\x93NUMPY',
          'touch_features.csv': b'id,a\n', 'sight_feat.npy.gz': b'\x1f\x8b'}


def test_features_in_a_form_that_is_not_read(folder, tmp_path, capsys):
    for name, content in UNREAD.items():
        (folder / name).write_bytes(content)
    (folder / 'sound_feat').mkdir()
    (folder / 'image_feat.pt').write_bytes(b'PK\x03\x04')
    (folder / 'features_explained.txt').write_text('text')
    (folder / 'notes.log').write_text('text')
    (folder / '.hidden_feat.pt').write_bytes(b'')
    wrong, lines = told(folder)
    assert wrong == len(UNREAD) + 1
    for name in (*UNREAD, 'sound_feat'):
        text = line(lines, f'WRONG: {name}')
        assert f'features are read from {re.split("_feat", name)[0]}_feat.npy' in text
    assert 'smell_feat.pt (a zip archive (as .npz and .pt files are)) is not read' in line(lines, 'WRONG: smell')
    assert 'image_feat.pt: not read, image_feat.npy is' in lines
    assert line(lines, 'features_explained.txt: not read')
    assert 'also here and not read: notes.log' in lines
    assert not [text for text in lines if 'hidden' in text]

    assert main(f'--data tiny --data_dir {tmp_path} --model pop --topk 5 --out {tmp_path / "run"}'.split()) == 0
    text = line(capsys.readouterr().out.splitlines(), 'not read: ')
    for name in (*UNREAD, 'sound_feat', 'image_feat.pt'):
        assert name in text


def test_a_second_file_of_a_modality(folder):
    with zipfile.ZipFile(folder / 'image_feat.npy.zip', 'w') as archive:
        archive.write(folder / 'image_feat.npy', 'image_feat.npy')
        archive.writestr('._image_feat.npy', b'\0\5\x16\7')
    wrong, lines = told(folder)
    assert not wrong
    assert 'image_feat.npy.zip: not read, image_feat.npy is' in lines
    (folder / 'image_feat.npy').unlink()
    wrong, lines = told(folder)
    assert not wrong
    assert not [text for text in lines if 'not read' in text]


def test_hidden_files_are_passed_over(tmp_path, capsys):
    """Case 14: macOS leaves such files beside others."""
    folder = shutil.copytree(CASES / '14-mac-appledouble', tmp_path / 'mac')
    (folder / '.DS_Store').write_bytes(b'\0\0\0\1Bud1')
    (folder / '._trnMat.npz').write_bytes(b'\0\5\x16\7')
    wrong, lines = told(folder)
    assert not wrong
    assert not [text for text in lines if '._' in text or 'DS_Store' in text]
    assert main(f'--data mac --data_dir {tmp_path} --model pop --topk 5 --out {tmp_path / "run"}'.split()) == 0
    (tmp_path / '.half-made').mkdir()
    (tmp_path / '.half-made' / 'trnMat.npz').touch()
    assert main(['--data', 'nowhere', '--data_dir', str(tmp_path)]) == 2
    assert f'{tmp_path} has: mac.' in capsys.readouterr().err


def written(path, kind):
    """A file of that kind at the path: (its name, what a message has to say)."""
    contents = {
        'a git-lfs pointer': (CASES / '15-git-lfs-pointer' / 'trnMat.pkl').read_bytes(),
        'an HTML page': b'\n <!-- x -->\n<HTML><body>Sign in', 'a numpy array': b'\x93NUMPY\x01\x00',
        'a pickle': pickle.dumps([1]), 'a zip archive': b'PK\x03\x04abc', 'a gzip archive': b'\x1f\x8b\x08',
        'empty': b'', 'an HDF5 file': b'\x89HDF\r\n', 'a picture': b'\xff\xd8\xff\xe0',
        'an AppleDouble file': b'\0\5\x16\7\0', "a server's answer that it has no such file": b'404: Not Found'}
    path.write_bytes(contents[kind])


@pytest.mark.parametrize(('name', 'own'), [('trnMat.npz', 'a zip archive'), ('trnMat.pkl', 'a pickle'),
                                           ('image_feat.npy', 'a numpy array'),
                                           ('image_feat.npy.zip', 'a zip archive')])
@pytest.mark.parametrize('kind', ['a git-lfs pointer', 'an HTML page', 'a numpy array', 'a pickle', 'a zip archive',
                                  'a gzip archive', 'empty', 'an HDF5 file', 'a picture', 'an AppleDouble file',
                                  "a server's answer that it has no such file"])
def test_another_content_is_called_by_its_name(folder, tmp_path, capsys, name, own, kind):
    for path in folder.glob(f'{name.split(".")[0]}.*'):
        path.unlink()
    written(folder / name, kind)
    assert main(['--data', 'tiny', '--data_dir', str(tmp_path), '--out', str(tmp_path / 'run')]) == 2
    text = capsys.readouterr().err
    assert text.count('\n') == 1
    assert str(folder / name) in text
    assert (f'{name} is {kind}' in text) == (kind != own)
    assert told(folder)[0] == 1


def test_pages_are_looked_at_without_delay(tmp_path):
    (tmp_path / 'a').write_bytes(b'<!---->' * 200)
    assert what_is(tmp_path / 'a')[0] == 'an HTML page'


@pytest.mark.parametrize('layout', ['dok_matrix', 'dok_array', 'lil_matrix', 'lil_array', 'dia_matrix', 'bsr_matrix'])
@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_other_layouts_are_named(rng, tmp_path, layout, protocol):
    """Large ones too, of which the instructions alone would be too many."""
    matrix = random_matrix(rng, 60, 50)
    matrix = getattr(sp, layout)(sp.eye(60, 50) if layout == 'dia_matrix' else matrix)
    (tmp_path / 'matrix.pkl').write_bytes(pickle.dumps(matrix, protocol))
    with pytest.raises(InputError, match=rf'holds a {layout}, but only coo, csr and csc .*tocsr\(\)'):
        load_sparse_pickle(tmp_path / 'matrix.pkl')


def on_ascii_terminal(command, words):
    """(exit code, what it printed) of a command on a terminal that knows ASCII alone."""
    stream = io.BytesIO()
    with redirect_stdout(io.TextIOWrapper(stream, encoding='ascii')) as terminal:
        code = command.main([str(word) for word in words])
        terminal.flush()
        return code, stream.getvalue().decode('ascii')


def test_names_that_a_terminal_cannot_show(tmp_path, capsys):
    path, target, where = tmp_path / 'клики.csv', tmp_path / 'списки.csv', ['--data_dir', tmp_path]
    path.write_text('user,item\n' + ''.join(f'ü{n},商品{m}\n' for n in range(6) for m in range(6)), encoding='utf-8')
    code, text = on_ascii_terminal(prepare, [path, '--name', 'données', *where])
    assert code == 0
    assert r'donn\xe9es' in text
    (tmp_path / 'données' / 'звук_feat.pt').write_bytes(b'')
    np.save(tmp_path / 'données' / 'картина_feat.npy', np.random.default_rng(0).normal(size=(6, 2)))
    code, text = on_ascii_terminal(check, ['données', *where])
    assert code == 1
    assert r'\u0437\u0432\u0443\u043a_feat.pt (empty) is not read' in text
    flags = ['--topk', 2, '--model', 'mfbpr', '--epoch', 1, '--out', tmp_path / 'прогон', '--recommend', target]
    assert on_ascii_terminal(Main, ['--data', 'données', *where, *flags])[0] == 0
    with open(target, newline='', encoding='utf-8') as file:
        assert {row['item'][:2] for row in csv.DictReader(file)} <= {'商品'}
    assert not capsys.readouterr().err


def test_a_process_that_knows_ascii_alone(tmp_path):
    """The whole of it, standard error too, and a name that is no text in any encoding."""
    name = os.fsdecode('donn\udce9es'.encode(errors='surrogateescape'))
    write_dataset(tmp_path / name, *planted(np.random.default_rng(0)))
    (tmp_path / name / 'звук_feat.pt').write_bytes(b'')
    done = subprocess.run([sys.executable, 'Main.py', '--data', name, '--data_dir', tmp_path, '--model', 'pop', '--out',
                           tmp_path / 'прогон'], cwd=ROOT, capture_output=True, check=False,
                          env={**os.environ, 'PYTHONIOENCODING': 'ascii', 'LC_ALL': 'C', 'OMP_NUM_THREADS': '1'})
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert not done.stderr
    assert rb'pop on donn\udce9es: 60 users' in done.stdout


@pytest.mark.parametrize(('flags', 'words'), [
    ('--model ease', ('the three matrices of 40 x 40 items of ease', 'itemknn or lightgcn', '--kcore')),
    ('--model itemknn --neighbours 9', ('the 9 largest', '--neighbours'))])
@pytest.mark.parametrize('how', ['numpy', 'torch'])
def test_advice_where_memory_runs_out(folder, tmp_path, monkeypatch, capsys, flags, words, how):
    def fails(*_, **__):
        raise MemoryError if how == 'numpy' else RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")

    monkeypatch.setattr(torch, 'cholesky_inverse' if 'ease' in flags else 'outer', fails)
    command = f'--data tiny --data_dir {tmp_path} --topk 5 --device cpu --out {tmp_path / "run"} {flags}'
    assert main(command.split()) == 2
    text = capsys.readouterr().err
    assert 'There is not enough memory for' in text
    assert text.count('\n') == 1
    for word in words:
        assert word in text
    assert '--latdim' not in text


def test_memory_that_is_not_there_is_not_asked_for(folder, tmp_path, monkeypatch, capsys):
    """Where a system promises more than it has, the process would end without a word."""
    monkeypatch.setattr('Baselines.common.free_memory', lambda _: 19_199)  # 3 x 40 x 40 x 4 bytes are needed
    flags = f'--data tiny --data_dir {tmp_path} --topk 5 --device cpu --out {tmp_path / "run"} --model ease'
    assert main(flags.split()) == 2
    assert 'There is not enough memory for the three matrices' in capsys.readouterr().err
    monkeypatch.setattr('Baselines.common.free_memory', lambda _: 19_200)
    assert main(flags.split()) == 0
