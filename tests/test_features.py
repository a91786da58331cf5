"""Features from every form of file: on the right items, or refused with the file, the item and the cause."""
import gzip
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from DataHandler import load_dataset
from Datasets import prepare
from Features.Arrays import Rows
from Features.Items import filled, read_features, rows_in_order
from Utils.Errors import InputError

CASES = Path(__file__).resolve().parent / 'cases'
IDS = ['b 1', 'B00', 'x,y', 'é', '007', 'q"t', 'i[5]', '12']  # as they appear; 12 and 007 are text here


@pytest.fixture
def vectors(rng):
    """Features of the items, and of one that nobody has bought, in no order."""
    names = [*IDS, 'never bought']
    table = rng.normal(size=(len(names), 3)).astype(np.float32)
    return {names[n]: table[n] for n in rng.permutation(len(names))}


def write_csv(path, frame, **how):
    frame.to_csv(path, **{'index': False, **how})
    return path


def write_folder(path, vectors, suffix=''):
    path.mkdir()
    for name, vector in vectors.items():
        np.save(path / f'{name}{suffix}.npy', vector[None])
    (path / '._b 1.npy').write_bytes(b'\x00\x05\x16\x07')
    return path


def write_zip(path, files):
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def write_text(path, text, opener=open):
    with opener(path, 'wt', encoding='utf-8') as file:
        file.write(text)
    return path


def write_saved(path, save, *values, **named):
    save(path, *values, **named)
    return path


def in_form(form, folder, vectors):
    """The vectors, written in a form of file; its path."""
    names, table = list(vectors), np.stack(list(vectors.values()))
    frame = pd.DataFrame(table, columns=['f0', 'f1', 'f2'])
    keyed = pd.concat([pd.Series(names, name='item_id'), frame], axis=1)
    lists = pd.DataFrame({'item_id': names, 'vector': [vector.tolist() for vector in table]})
    moved = keyed[['f0', 'item_id', 'f1', 'f2']]
    packed = '\n'.join(f'{name}\t{" ".join(map(str, vector))}' for name, vector in zip(names, table, strict=True))
    write = {
        'csv': lambda: write_csv(folder / 'f.csv', keyed),
        'csv with the index of pandas': lambda: write_csv(folder / 'f.csv', keyed, index=True),
        'csv with ids in the second column': lambda: write_csv(folder / 'f.csv', moved),
        'csv with the ids as index': lambda: write_csv(folder / 'f.csv', frame.set_index(pd.Index(names)), index=True),
        'csv with a column that counts': lambda: write_csv(folder / 'f.csv', keyed.reset_index()),
        'csv without header': lambda: write_csv(folder / 'f.csv', keyed, header=False),
        'csv with numbers as names': lambda: write_csv(folder / 'f.csv', keyed.set_axis(['id', 0, 1, 2], axis=1)),
        'csv with padded ids': lambda: write_csv(folder / 'f.csv', keyed.assign(item_id=[f'{n}  ' for n in names])),
        'csv.gz with semicolons': lambda: write_csv(folder / 'f.csv.gz', keyed, sep=';'),
        'tsv': lambda: write_csv(folder / 'f.tsv', keyed, sep='\t', quoting=3),
        'lists in cells': lambda: write_csv(folder / 'f.csv', lists),
        'arrays printed in cells': lambda: write_csv(folder / 'f.csv', lists.assign(
            vector=[str(np.array(vector, object)).replace(',', '') for vector in lists.vector])),
        'atomic': lambda: write_text(folder / 'f.item', f'item_id:token\tv:float_seq\n{packed}\n'),
        'JSON lines': lambda: write_text(folder / 'f.json', keyed.to_json(orient='records', lines=True,
                                                                         double_precision=15)),
        'JSON lines with lists': lambda: write_text(folder / 'f.jsonl.gz', lists.to_json(
            orient='records', lines=True, double_precision=15), gzip.open),
        'JSON array': lambda: write_text(folder / 'f.json', json.dumps(lists.to_dict('records'), indent=1)),
        'JSON dictionary': lambda: write_text(folder / 'f.json', json.dumps(
            {name: vector.tolist() for name, vector in vectors.items()})),
        'parquet': lambda: write_saved(folder / 'f.parquet', lambda path: keyed.to_parquet(path)),
        'parquet with lists': lambda: write_saved(folder / 'f.parquet', lambda path: lists.to_parquet(path)),
        'parquet with the ids as index': lambda: write_saved(
            folder / 'f.parquet', lambda path: frame.set_index(pd.Index(names)).to_parquet(path)),
        'ids and features': lambda: write_saved(folder / 'f.npz', np.savez, ids=np.array(names), features=table),
        'other names': lambda: write_saved(folder / 'f.npz', np.savez, image=table, asin=np.array(names)),
        'ids as bytes': lambda: write_saved(folder / 'f.npz', np.savez, features=table, ids=np.char.encode(
            np.array(names), 'utf-8')),
        'one array per id': lambda: write_saved(folder / 'f.npz', np.savez, **vectors),
        'zip of arrays': lambda: write_zip(folder / 'f.zip', {f'deep/{name}.npy': npy(vector) for name, vector
                                                              in vectors.items()} | {'__MACOSX/._x.npy': b''}),
        'folder': lambda: write_folder(folder / 'f', vectors),
        'folder of .jpg.npy': lambda: write_folder(folder / 'f', vectors, '.jpg'),
        'nested folder': lambda: write_folder(folder / 'f', {}) and write_folder(folder / 'f' / 'net', vectors).parent,
        'tensors by id': lambda: torch.save({name: torch.tensor(vector) for name, vector in vectors.items()},
                                            folder / 'f.pt') or folder / 'f.pt',
        'ids and tensor': lambda: torch.save({'ids': names, 'features': torch.tensor(table).requires_grad_()},
                                             folder / 'f.pt') or folder / 'f.pt'}
    return write[form]()


FORMS = ['csv', 'csv with the index of pandas', 'csv with ids in the second column', 'csv with the ids as index',
         'csv with a column that counts', 'csv without header', 'csv with numbers as names', 'csv with padded ids',
         'csv.gz with semicolons', 'tsv', 'lists in cells', 'arrays printed in cells', 'atomic', 'JSON lines',
         'JSON lines with lists', 'JSON array', 'JSON dictionary', 'parquet', 'parquet with lists',
         'parquet with the ids as index', 'ids and features', 'other names', 'ids as bytes', 'one array per id',
         'zip of arrays', 'folder', 'folder of .jpg.npy', 'nested folder', 'tensors by id', 'ids and tensor']


def read(path, item_ids=IDS, missing='refuse', **how):
    """The features of the items, in their order."""
    found = read_features({'image': Path(path)}, item_ids, **how)['image']
    return filled(found, np.arange(len(item_ids)), item_ids, missing)[0]


@pytest.mark.parametrize('form', FORMS)
def test_every_form_holds_the_same(vectors, tmp_path, form):
    table = read(in_form(form, tmp_path, vectors))
    np.testing.assert_allclose(table, np.stack([vectors[name] for name in IDS]), rtol=1e-5)


@pytest.mark.parametrize('form', ['csv', 'lists in cells', 'parquet with lists', 'JSON lines', 'JSON lines with lists',
                                  'ids and features', 'folder', 'tensors by id'])
@pytest.mark.parametrize('missing', ['mean', 'zero', 'refuse'])
def test_what_is_missing(vectors, tmp_path, form, missing):
    """An item without a row, one with a row of nothing, and one without one of its values."""
    complete = {name: vector.copy() for name, vector in vectors.items()}
    del vectors['é']
    vectors['007'] = np.full(3, np.nan, np.float32)
    partly = 'lists' not in form or form == 'JSON lines with lists'
    if partly:
        vectors['x,y'] = np.array([complete['x,y'][0], np.nan, complete['x,y'][2]], np.float32)
    path = in_form(form, tmp_path, vectors)
    if missing == 'refuse':
        with pytest.raises(InputError, match="no features for 2 of 8 items, the first of them 'é'"):
            read(path)
        return
    table = read(path, missing=missing)
    expected = np.stack([vectors.get(name, np.full(3, np.nan)) for name in IDS]).astype(np.float64)
    fill = np.nanmean(expected, 0) if missing == 'mean' else np.zeros(3)
    np.testing.assert_allclose(table, np.where(np.isnan(expected), fill, expected), rtol=1e-4, atol=1e-6)


def test_values_that_lack_are_named(vectors, tmp_path):
    vectors['x,y'][1] = np.nan
    line = list(vectors).index('x,y') + 2
    with pytest.raises(InputError, match=rf"1 of 8 items, .*'x,y' \(.*f.csv: line {line}, feature 1 from 0\)"):
        read(in_form('csv', tmp_path, vectors))
    for vector in vectors.values():
        vector[2] = np.nan
    with pytest.raises(InputError, match='no value in its feature 2'):
        read(in_form('csv', tmp_path, vectors), missing='mean')


def test_empty_cells_are_missing(tmp_path):
    path = write_text(tmp_path / 'f.csv', 'item,vector\na,"[1, 2]"\nb,\nc,"[3, 5]"\n')
    assert read(path, ['a', 'b', 'c'], 'mean').tolist() == [[1, 2], [2, 3.5], [3, 5]]
    path = write_text(tmp_path / 'f.csv', 'item,x,y\na,1,2\nb,,\nc,3,\n')
    assert read(path, ['a', 'b', 'c'], 'zero').tolist() == [[1, 2], [0, 0], [3, 0]]


# ids as they appear, rows -> the row of each item, or words of the refusal
APPEARANCE, ASCENDING = ['c', 'a', 'b'], ['a', 'b', 'c']
ORDERS = [
    (['2', '0', '1'], 3, None, [2, 0, 1]), (['4', '0'], 5, None, [4, 0]), (['0', '1', '2'], 3, None, [0, 1, 2]),
    (['2', '0', '1'], 4, None, 'the ids 0 to 2'), (['2', '0', '1'], 9, None, 'the ids 0 to 2'),
    (['2', '1', '3'], 3, None, 'the ids 1 to 3'), (['1', '2', '3'], 3, None, 'the ids 1 to 3'),
    (['1', '2', '3'], 4, None, 'the ids 1 to 3'), (['2', '5', '7'], 8, None, 'the ids 2 to 7'),
    (['20', '50', '70'], 3, None, [0, 1, 2]), (['5', '50', '7'], 3, None, 'which row is whose'),
    (['0', '7', '9'], 3, None, [0, 1, 2]), (['01', '02', '03'], 3, None, [0, 1, 2]),
    (APPEARANCE, 3, None, 'which row is whose'), (ASCENDING, 3, None, [0, 1, 2]), (ASCENDING, 4, None, 'which row'),
    (APPEARANCE, 3, 'appearance', [0, 1, 2]), (APPEARANCE, 3, 'sorted', [2, 0, 1]),
    (['10', '9', '8'], 3, 'sorted', [2, 1, 0]), (APPEARANCE, 3, 'number', "whole numbers, but one is 'c'"),
    (APPEARANCE, 4, 'appearance', '4 rows, but 3 items'), (['2', '1', '3'], 4, 'number', [2, 1, 3]),
    (['2', '1', '3'], 3, 'number', [2, 1, -1]), (['2', '1', '3'], 3, 'sorted', [1, 0, 2])]


@pytest.mark.parametrize(('ids', 'n_rows', 'order', 'expected'), ORDERS)
def test_a_table_without_ids(tmp_path, ids, n_rows, order, expected):
    np.save(tmp_path / 'f.npy', np.arange(2 * n_rows).reshape(-1, 2) / 2)
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected) as told:
            read_features({'image': tmp_path / 'f.npy'}, ids, order=order)
        assert order == 'number' or '--feature_ids FILE' in str(told.value)
        return
    found = read_features({'image': tmp_path / 'f.npy'}, ids, order=order)['image']
    assert found.rows.tolist() == expected
    assert any('row n' in note for note in found.found.notes)


@pytest.mark.parametrize('form', ['npy', 'npy.zip', 'npz', 'pt', 'pt of a layer', 'csv of numbers',
                                  'csv with an index'])
def test_forms_without_ids(rng, tmp_path, form):
    table = rng.normal(size=(3, 2))
    path = tmp_path / {'pt of a layer': 'f.pt'}.get(form, f'f.{form.split()[0]}')
    if form == 'npy':
        np.save(path, table)
    elif form == 'npy.zip':
        write_zip(path, {'f.npy': npy(table), '__MACOSX/._f.npy': b'x', '.hidden.npy': b'x'})
    elif form == 'npz':
        np.savez(path, table)
    elif form.startswith('pt'):
        torch.save(torch.tensor(table) if form == 'pt' else torch.nn.Embedding.from_pretrained(
            torch.tensor(table)).state_dict(), path)
    else:
        pd.DataFrame(table, columns=['x', 'y']).to_csv(path, index='index' in form)
    np.testing.assert_allclose(read(path, ['2', '0', '1']), table[[2, 0, 1]], rtol=1e-6)
    with pytest.raises(InputError, match='no ids'):
        read(path, ['b', 'c', 'a'])
    with pytest.raises(InputError, match='no ids'):
        read(path, ['3', '2', '1'])
    np.testing.assert_allclose(read(path, ['b', 'c', 'a'], order='sorted'), table[[1, 2, 0]], rtol=1e-6)


IDS_FILES = [
    'c d\na\nb,x\n', 'asin\nc d\na\nb,x\n', '"c d"\n"a"\n"b,x"\n', 'row\tid\n2\tb,x\n0\tc d\n1\ta\n', 'asin;number\n'
    'a;1\nc d;0\nb,x;2\n', '0\tc d\n1\ta\n2\tb,x\n']


@pytest.mark.parametrize('text', IDS_FILES)
def test_ids_in_a_file_of_their_own(tmp_path, text):
    np.save(tmp_path / 'f.npy', np.arange(6.).reshape(3, 2))
    (tmp_path / 'ids.txt').write_text(text)
    table = read(tmp_path / 'f.npy', ['a', 'b,x', 'c d'], ids_words=[str(tmp_path / 'ids.txt')])
    assert table[:, 0].tolist() == [2, 4, 0]
    assert (read(tmp_path / 'f.npy', ['a', 'b,x', 'c d'], ids_words=[f'image={tmp_path / "ids.txt"}']) == table).all()


def test_ids_in_an_array(tmp_path):
    np.save(tmp_path / 'f.npy', np.arange(6.).reshape(3, 2))
    np.save(tmp_path / 'ids.npy', np.array([12, 3, 7]))
    assert read(tmp_path / 'f.npy', ['3', '12', '7'], ids_words=[str(tmp_path / 'ids.npy')])[:, 0].tolist() == [2, 0, 4]


@pytest.mark.parametrize(('content', 'message'), [
    ('item_id\na\nb\n', '2 ids, but'),
    ('a\nb\n', '2 ids, but the features have 3 rows'), ('a\nb\nc\nd\n', '4 ids'), ('x\ny\nz\n', 'no id of an item'),
    ('a\nb\na\n', "'a' has features twice: .*row 0 .* and .*row 2"), ('a,1,2\nb,3,4\nc,5,6\n', '3 columns'),
    ('a,0\nb,1\nc,7\n', 'which of its columns'), ('', 'is empty'), ('a\n\nc\n', '2 ids')])
def test_ids_files_that_do_not_fit(tmp_path, content, message):
    np.save(tmp_path / 'f.npy', np.arange(6.).reshape(3, 2))
    (tmp_path / 'ids.txt').write_text(content)
    with pytest.raises(InputError, match=message):
        read(tmp_path / 'f.npy', ['a', 'b', 'c'], ids_words=[str(tmp_path / 'ids.txt')])


@pytest.mark.parametrize(('how', 'message'), [
    ({'ids_words': ['ids.txt'], 'order': 'sorted'}, '--feature_ids or --feature_order'),
    ({'ids_words': ['sound=ids.txt', 'image=ids.txt']}, 'names sound'), ({'order': 'sorted'}, 'leave out'),
    ({'ids_words': ['ids.txt']}, 'leave out --feature_ids')])
def test_flags_that_do_not_fit(vectors, tmp_path, how, message):
    with pytest.raises(InputError, match=message):
        read(in_form('csv', tmp_path, vectors), **how)


REFUSED = [
    (b'item_id,index,a\n1,0,5\n0,1,6\n2,2,7\n', '^$', 'int', None),
    (b',Unnamed: 0,item_id,a\n0,0,1,5\n1,1,0,6\n2,2,2,7\n', '^$', 'int', None),
    (b',item_id,a\n7,1,5\n5,0,6\n9,2,7\n', '^$', 'int', None),
    (b'x,y,a\n1,0,5\n0,1,6\n2,2,7\n', "may be in column 'x' or in column 'y': call the right one item_id", 'int', 1),
    (b'item_id,a\n1,5\n,6\n2,7\n', "line 3 has no id in column 'item_id'", 'int', 1),
    (b'item_id,a\n1,5\n2,x\n', "line 3, column 'a': 'x' is not a number", 'int', 1),
    (b'item_id,title,a\n1,red shoe,5\n2,hat,6\n', "column 'title'", 'int', 1),
    (b'item_id,a\nB1,5\nB2,6\n', "no column holds ids of the items. In column 'item_id' is 'B1'", 'int', 1),
    (b'item_id,a\n01,5\n02,6\n', 'Without leading zeros, or a point', 'int', 1),
    (b'id,a\n1.0,5\n2.0,6\n', 'or a point', 'int', 1),
    (b'item_id\n1\n2\n', 'features were expected', 'int', 1),
    (b'item_id,v\n1,"[1, 2]"\n2,"[1, 2, 3]"\n', 'line 3 has 3 numbers, but .*line 2 has 2', 'int', 1),
    (b'item_id,v\n1,"[1, 2]"\n2,"[1 ... 3]"\n', 'shortened when it was printed', 'int', 1),
    (b'item_id,v,w\n1,"[1, 2]",3\n2,"[1, 2]",4\n', "column 'v' holds several numbers", 'int', 1),
    (b'item_id;v\n1;0,5\n2;1,5\n', "'0,5', which may be one number with a decimal comma or two numbers", 'int', 1),
    (b'item_id;v;w\n1;0,5;1,5\n2;1,5;2,5\n', 'with a decimal comma or two numbers', 'int', 1),
    (b'user_id,item_id,a\n4,1,5\n5,0,6\n6,2,7\n', '^$', 'int', None),
    (b'item_id,a\n1,5\n2,inf\n', "line 3, item '2', holds an infinite value", 'int', 1),
    (b'item_id,a\n1,5\n2,1e39\n', "line 3, item '2', holds an infinite value or one beyond float32", 'int', 1),
    (b'item_id,a\n1,5\n2,6\n1,5\n', "item '1' has features twice: .*line 2 and .*line 4", 'int', 1),
    (b'item_id,a\n1,5\n2,6,7\n', 'line 3 has 3 cells', 'int', 1),
    (b'0,1,2\n0,5,6\n1,6,7\n2,6,7\n', '^$', 'int', None),
    (b'0,1,2\n1,6,7\n2,6,7\n', 'which may be a row or the header', 'int', 1)]


@pytest.mark.parametrize(('content', 'message', 'ids', 'wrong'), REFUSED)
def test_tables_that_cannot_be_read_rightly(tmp_path, content, message, ids, wrong):
    (tmp_path / 'f.csv').write_bytes(content)
    ids = ['2', '0', '1'] if ids == 'int' else ids
    if wrong:
        with pytest.raises(InputError, match=message):
            read(tmp_path / 'f.csv', ids, missing='mean')
    else:
        assert read(tmp_path / 'f.csv', ids, missing='mean').shape == (3, 2 if content[:1] == b'0' else 1)


def damaged(kind, folder):
    """A file of features that cannot be read, and what is said of it."""
    path, table = folder / 'f.npy', np.ones((8, 2))
    if kind == 'cut short':
        path.write_bytes(npy(table)[:-5])
        return path, 'damaged or cut short'
    if kind == 'objects':
        np.save(path, {'a': 1}, allow_pickle=True)
        return path, 'Python objects'
    if kind == 'page':
        path.write_bytes(b'<!DOCTYPE html><html></html>')
        return path, 'an HTML page'
    if kind == 'empty':
        path.write_bytes(b'')
        return path, 'is empty'
    if kind == 'three axes':
        np.save(path, np.ones((8, 2, 2)))
        return path, '8 x 2 x 2 float64; a table of numbers'
    if kind == 'text':
        np.save(path, np.full((8, 2), 'x'))
        return path, 'numbers were expected'
    if kind == 'many tables':
        np.savez(folder / 'f.npz', ids=np.array(IDS), image=table, text=table)
        return folder / 'f.npz', r'holds the arrays ids \(8 text\), image \(8 x 2 float64\), text'
    if kind == 'too few ids':
        np.savez(folder / 'f.npz', ids=np.array(IDS[1:]), features=table)
        return folder / 'f.npz', 'ids and one table'
    if kind == 'npz cut short':
        np.savez(folder / 'f.npz', ids=np.array(IDS), features=table)
        (folder / 'f.npz').write_bytes((folder / 'f.npz').read_bytes()[:-40])
        return folder / 'f.npz', 'damaged or cut short'
    if kind == 'ids as objects':
        np.savez(folder / 'f.npz', ids=np.array(IDS, object), features=table)
        return folder / 'f.npz', 'f.npz: ids.npy holds Python objects'
    if kind == 'model':
        torch.save(torch.nn.Linear(2, 2), folder / 'f.pt')
        return folder / 'f.pt', 'more than tensors'
    if kind == 'pt cut short':
        torch.save(torch.ones(8, 2), folder / 'f.pt')
        (folder / 'f.pt').write_bytes((folder / 'f.pt').read_bytes()[:-90])
        return folder / 'f.pt', 'damaged or cut short'
    if kind == 'sparse tensor':
        torch.save(torch.ones(8, 2).to_sparse(), folder / 'f.pt')
        return folder / 'f.pt', 'a plain tensor was expected'
    (folder / 'f').mkdir()
    if kind == 'empty folder':
        return folder / 'f', 'no .npy file in it'
    np.save(folder / 'f' / 'B00.npy', np.ones(3))
    if kind == 'matrices in a folder':
        np.save(folder / 'f' / '12.npy', np.ones((2, 3)))
        return folder / 'f', '12.npy holds 2 x 3 float64; one vector'
    if kind == 'one file of a folder':
        (folder / 'f' / '12.npy').write_bytes(b'version https://git-lfs.github.com/spec/v1\n')
        return folder / 'f', '12.npy is a git-lfs pointer'
    if kind == 'twice in a folder':
        np.save(folder / 'f' / 'B00.png.npy', np.ones(3))
        return folder / 'f', "'B00' has features twice: .*B00.npy.* and .*B00.png.npy"
    (folder / 'f' / 'net').mkdir()
    np.save(folder / 'f' / 'net' / 'B00.npy', np.ones(3))
    return folder / 'f', 'in 2 folders'


KINDS = ['cut short', 'objects', 'page', 'empty', 'three axes', 'text', 'many tables', 'too few ids', 'npz cut short',
         'ids as objects', 'model', 'pt cut short', 'sparse tensor', 'empty folder', 'matrices in a folder',
         'one file of a folder', 'twice in a folder', 'two folders']


@pytest.mark.parametrize('kind', KINDS)
def test_files_that_cannot_be_read(tmp_path, kind):
    path, message = damaged(kind, tmp_path)
    with pytest.raises(InputError, match=message) as told:
        read(path, missing='mean')
    assert 'allow_pickle' not in str(told.value)
    assert 'weights_only' not in str(told.value)


def test_features_of_no_item(vectors, tmp_path):
    path = in_form('folder', tmp_path, vectors)
    with pytest.raises(InputError, match=r"features of no item of the interactions \(the first is 'p'; its first id"):
        read(path, ['p', 'q'], missing='mean')


def test_dropping_comes_before_the_core(rng, tmp_path):
    """Items without all features go first, so that every user and item left still has k interactions."""
    pairs = [(user, item) for user in range(14) for item in rng.choice(9, 7, replace=False)]
    (tmp_path / 'a.csv').write_text('user,item\n' + ''.join(f'u{user},i{item}\n' for user, item in pairs))
    (tmp_path / 'f.csv').write_text('item,x,y\n' + ''.join(f'i{n},{n},{"" if n == 4 else n}\n' for n in range(9)))
    (tmp_path / 'g.csv').write_text('item,z\n' + ''.join(f'i{n},{n}\n' for n in range(9) if n != 7))
    assert run(tmp_path / 'a.csv', tmp_path, f'image={tmp_path / "f.csv"}', f'text={tmp_path / "g.csv"}', '--missing',
               'drop', '--kcore', '5') == 0
    left = [(user, item) for user, item in pairs if item not in (4, 7)]
    while True:  # one step at a time
        users, items = ([pair[side] for pair in left] for side in (0, 1))
        poor = {pair for pair in left if users.count(pair[0]) < 5 or items.count(pair[1]) < 5}
        if not poor:
            break
        left = [pair for pair in left if pair not in poor]
    facts = json.loads((tmp_path / 'made' / 'dataset.json').read_text())
    assert list(facts['interactions'])[:2] == ['read', 'of items with all features']
    assert facts['interactions']['of items with all features'] == sum(item not in (4, 7) for _, item in pairs)
    assert facts['statistics']['together'] == facts['interactions']['5-core'] == len(left)
    kept = sorted({item for _, item in left})
    assert sorted(load_dataset(tmp_path, 'made').features['text'][:, 0].tolist()) == kept


def test_rows_in_order_are_those_of_all_items_of_the_file(tmp_path, capsys):
    """Also where a filter leaves some of them out: the table was made for what the file holds."""
    np.save(tmp_path / 'f.npy', np.arange(8.).reshape(4, 2))
    (tmp_path / 'a.csv').write_text('user,item\n' + ''.join(f'u{n},{item}\n' for item in 'dbca' for n in range(
        1 if item == 'b' else 4)))
    assert run(tmp_path / 'a.csv', tmp_path, f'image={tmp_path / "f.npy"}', '--kcore', '2', '--feature_order',
               'appearance') == 0
    assert np.load(tmp_path / 'made' / 'image_feat.npy')[:, 0].tolist() == [0, 4, 6]
    assert 'row n is the n-th item to appear' in capsys.readouterr().out


def run(path, folder, *flags):
    return prepare.main([str(path), '--name', 'made', '--data_dir', str(folder), '--split', 'leave-one-out',
                         '--features', *flags])


REFUSALS = {'04-feature-rows-off-by-one/image.npy': ['9 rows', 'the ids 1 to 8', '--feature_order'],
            '15-git-lfs-pointer/image.npy': ['a git-lfs pointer'],
            '16-nan-feature-rows/image.csv': ['no features for 1 of 9 items', "'i4'"],
            '16-nan-feature-rows/image.npz': ['no features for 1 of 9 items', "'i4'"],
            '16-nan-feature-rows/partial.csv': ['no features for 1 of 9 items', "'i4'"],
            '20-feature-files-raw-messages/dict.npy': ['Python objects'],
            '20-feature-files-raw-messages/html.npy': ['an HTML page'],
            '20-feature-files-raw-messages/shapes': ['i5.npy holds 4 numbers', 'holds 3'],
            '20-feature-files-raw-messages/twice.csv': ["'i0' has features twice", 'line 2', 'line 11']}
TAKEN = {'05-feature-csv-index-column/image.csv': 0.5, '13-padded-ids/audio.csv': 0.1,
         '14-mac-appledouble/items_npy': 0, '20-feature-files-raw-messages/jpg_suffix': 0,
         '20-feature-files-raw-messages/lists.csv': 0.1, '20-feature-files-raw-messages/nested': 0,
         '20-feature-files-raw-messages/semicolon.csv': 0.1, '20-feature-files-raw-messages/tab.csv': 0.1}


def run_case(name, folder, *flags):
    raw = next(path for path in ((CASES / name).parent / 'ratings.csv', (CASES / name).parent / 'plays.tsv')
               if path.exists())
    return run(raw, folder, f'image={CASES / name}', *(['--item', 'artist'] if raw.suffix == '.tsv' else []), *flags)


@pytest.mark.parametrize('name', REFUSALS)
def test_cases_that_are_refused(tmp_path, capsys, name):
    assert run_case(name, tmp_path) == 2
    told = capsys.readouterr().err
    assert told.count('\n') == 1
    assert all(words in told for words in (Path(name).name, *REFUSALS[name]))
    assert not any(words in told for words in ('allow_pickle', 'ValueError', 'Failed to interpret', 'array dimensions'))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('name', TAKEN)
def test_cases_that_are_read(tmp_path, name):
    """The first feature of item n is n and a fraction."""
    assert run_case(name, tmp_path) == 0
    table = load_dataset(tmp_path, 'made').features['image']
    np.testing.assert_allclose(table[:, 0], np.arange(9) + TAKEN[name], atol=1e-6)


def test_case_of_other_names_in_an_archive(tmp_path):
    assert run_case('20-feature-files-raw-messages/other_names.npz', tmp_path) == 0
    assert (load_dataset(tmp_path, 'made').features['image'] == 1).all()


@pytest.mark.parametrize(('order', 'first'), [('number', 2), ('sorted', None)])
def test_case_of_rows_off_by_one_with_its_order(tmp_path, order, first):
    """Nine rows are not the eight items' in order; their own ids can be said."""
    name = '04-feature-rows-off-by-one/image.npy'
    assert run_case(name, tmp_path, '--feature_order', order) == (0 if first else 2)
    if first:
        assert load_dataset(tmp_path, 'made').features['image'][0, 0] == first
    (tmp_path / 'ids.txt').write_text(''.join(f'{number}\n' for number in range(1, 10)))
    assert prepare.main([str(CASES / '04-feature-rows-off-by-one/ratings.csv'), '--name', 'right', '--data_dir',
                         str(tmp_path), '--split', 'leave-one-out', '--features', f'image={CASES / name}',
                         '--feature_ids', str(tmp_path / 'ids.txt')]) == 0
    assert load_dataset(tmp_path, 'right').features['image'][:, 0].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize('name', [name for name in REFUSALS if name.startswith('16')])
@pytest.mark.parametrize('missing', ['mean', 'zero', 'drop'])
def test_cases_of_missing_rows(tmp_path, name, missing):
    assert run_case(name, tmp_path, '--missing', missing) == 0
    data = load_dataset(tmp_path, 'made')
    table = data.features['image']
    assert data.n_items == len(table) == (8 if missing == 'drop' else 9)
    if missing != 'drop':
        others = np.delete(table, 4, 0)
        np.testing.assert_allclose(table[4], others.mean(0) if missing == 'mean' else 0, rtol=1e-5, atol=1e-7)
    facts = json.loads((tmp_path / 'made' / 'dataset.json').read_text())
    assert facts['items_without_features'] == {'image': 0 if missing == 'drop' else 1}


def test_the_order_of_a_table_is_the_same_for_any_rows(rng):
    """Shuffling the items of a file does not change which row is whose, but for their appearance."""
    ids = [str(number) for number in rng.permutation(30)]
    table = Rows(Path('f.npy'), np.arange(60.).reshape(30, 2), None)
    for order in (None, 'number', 'sorted'):
        assert rows_in_order(table, ids, order).tolist() == [int(name) for name in ids]
