"""prepare.py on the files that people have: each reads as the interactions that it holds, or is refused by its line."""
import gzip
import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from DataHandler import SPLITS, load_dataset, load_matrix
from Datasets import prepare

CASES = Path(__file__).resolve().parent / 'cases'
REAL = Path(__file__).resolve().parent.parent.parent / 'shared' / 'data'


def run(out, *words):
    return prepare.main([*map(str, words), '--name', 'made', '--data_dir', str(out)])


def pairs(out, splits=SPLITS):
    """The interactions of the splits, by the original ids."""
    data = load_dataset(out, 'made')
    users, items = (ids(out, side) for side in ('users', 'items'))
    return {name: sorted((users[user], items[item]) for user, item in zip(*getattr(data, name).nonzero(), strict=True))
            for name in splits}


def ids(out, side):
    return [line.split(',', 1)[1] for line in (out / 'made' / f'{side}.csv').read_text().splitlines()[1:]]


def together(out):
    return sorted(pair for of_split in pairs(out).values() for pair in of_split)


RING = sorted((f'u{user}', f'i{(2 * user + n) % 9}') for user in range(4) for n in range(6))  # what most cases hold
NUMBERED = sorted((str(user + 1), str((2 * user + n) % 9 + 1)) for user in range(4) for n in range(6))


@pytest.mark.parametrize(('file', 'flags', 'told'), [
    ('01-quote-swallows-rows/plays.tsv', (), "separator tab, header; user = 'user_id', item = 'item_id'"),
    ('09-json/reviews.json', (), "JSON, an object per line; user = 'reviewerID', item = 'asin'"),
    ('09-json/reviews23.jsonl', (), "item = 'parent_asin' (there is also 'asin': --item takes another)"),
    ('10-movielens-double-colon/ratings.dat', (), "separator '::', no header; user = column 1, item = column 2"),
    ('10-movielens-double-colon/ratings.dat', ('--user', 1, '--item', 2, '--time', 4), 'time = column 4 (Unix s'),
    ('11-space-separated/rb2000.inter', (), 'separator spaces, header'),
    ('11-space-separated/triples.txt', ('--user', 1, '--item', 2), 'separator spaces, no header'),
    ('12-split-in-three-files/named_split.csv', (), "column 'split' is not used: --label split takes it"),
    ('18-line-of-a-bad-value/bad_time.csv', (), "the time is not read, and this split does not need it")])
def test_cases_that_are_read(tmp_path, capsys, file, flags, told):
    assert run(tmp_path, CASES / file, *flags, '--ratio', 4, 1, 1) == 0
    said = capsys.readouterr().out
    assert told in said
    extra = [('u1', 'i8')] if 'bad_time' in file else []
    assert together(tmp_path) == sorted((NUMBERED if 'movielens' in file else RING) + extra)
    rows = 25 if 'bad_time' in file else 24
    assert f'{rows} rows' in said


@pytest.mark.parametrize(('file', 'flags', 'told'), [
    ('02-extra-fields-shift-columns/unquoted.csv', (), "line 2 has 4 cells and the header 3: 'i0' comes after"),
    ('02-extra-fields-shift-columns/r_write_table.csv', ('--split', 'time'), 'row.names = FALSE'),
    ('11-space-separated/triples.txt', (), "by number"),
    ('15-git-lfs-pointer/baby.inter', (), 'is a git-lfs pointer'),
    ('18-line-of-a-bad-value/blank_lines.csv', (), "line 8 has no item in column 'item_id'"),
    ('18-line-of-a-bad-value/bad_time.csv', ('--split', 'time'), "line 6, column 'timestamp': 'soon' is not a number")])
def test_cases_that_are_refused(tmp_path, capsys, file, flags, told):
    assert run(tmp_path, CASES / file, *flags) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count('\n') == 1
    assert not list(tmp_path.iterdir())


THREE = [CASES / '12-split-in-three-files' / f'toy.{name}.inter' for name in ('train', 'valid', 'test')]


def test_padded_ids_are_one_id(tmp_path, capsys):
    assert run(tmp_path, CASES / '13-padded-ids' / 'plays.tsv', '--item', 'artist', '--ratio', 4, 1, 1) == 0
    assert together(tmp_path) == [(user, f'band {item}') for user, item in RING]


@pytest.mark.parametrize('words', [
    THREE, THREE[::-1], ['--train', THREE[0], '--val', THREE[1], '--test', THREE[2]],
    [CASES / '12-split-in-three-files' / 'named_split.csv', '--label', 'split'],
    [CASES / '12-split-in-three-files' / 'named_split.csv', '--label', 'SPLIT', '--split', 'label']])
def test_splits_that_are_there(tmp_path, words):
    assert run(tmp_path, *words) == 0
    found = pairs(tmp_path)
    assert {name: len(of_split) for name, of_split in found.items()} == {'train': 16, 'val': 4, 'test': 4}
    assert [item for _, item in found['test']] == ['i5', 'i7', 'i0', 'i2']


def items_of_users(matrix):
    return [items.tolist() for items in np.split(matrix.indices, matrix.indptr[1:-1])]


def lists(matrix, path):
    """LightGCN's file of a matrix: every user has a line, some without items."""
    path.write_text(''.join(' '.join(map(str, [user, *items])) + '\n'
                            for user, items in enumerate(items_of_users(matrix))))


def of_real(name):
    folder = REAL / name
    if not (folder / 'trnMat.pkl').is_file():
        pytest.skip(f'{folder} is not there')
    return {part: load_matrix(folder, stem) for part, stem in SPLITS.items()}


def three_files(matrices, out, suffix, write):
    """A file for each split -> the flags that name them."""
    words = []
    for part, matrix in matrices.items():
        write(matrix, out / f'{part}{suffix}')
        words += [f'--{part}', out / f'{part}{suffix}']
    return words


def rows_of(matrices):
    return [(int(user), int(item), part) for part, matrix in matrices.items()
            for user, item in zip(*matrix.nonzero(), strict=True)]


def written_csv(matrices, out):
    (out / 'a.csv').write_text('userID,itemID,x_label\n' + ''.join(
        f'{user},{item},{list(SPLITS).index(part)}\n' for user, item, part in rows_of(matrices)))
    return [out / 'a.csv']


def written_json_lines(matrices, out):
    with gzip.open(out / 'a.json.gz', 'wt', compresslevel=1) as file:
        file.writelines(json.dumps({'text': 'a "b",\n', 'asin': item, 'fold': part, 'reviewerID': str(user)}) + '\n'
                        for user, item, part in rows_of(matrices))
    return [out / 'a.json.gz', '--label', 'fold']


def written_parquet(matrices, out):
    users, items, parts = zip(*rows_of(matrices), strict=True)
    pa.parquet.write_table(pa.table({'user_id': pa.array(users, pa.float64()), 'item_id': items,
                                     'split': pa.array(parts).dictionary_encode()}), out / 'a.parquet')
    return [out / 'a.parquet', '--label', 'split']


def written_colons(matrices, out):
    def write(matrix, path):
        pairs = zip(*matrix.nonzero(), strict=True)
        path.write_text(''.join(f'{user}::{item}::5::1500000000\n' for user, item in pairs))
    return three_files(matrices, out, '.dat', write)


def written_lists(matrices, out):
    return three_files(matrices, out, '.txt', lists)


def written_user_lists(matrices, out):
    return three_files(matrices, out, '.json', lambda matrix, path: path.write_text(json.dumps(
        dict(enumerate(items_of_users(matrix))))))


@pytest.mark.parametrize(('name', 'written'), [
    *((name, written) for name in ('tiktok', 'sports')
      for written in (written_csv, written_json_lines, written_parquet, written_colons, written_lists)),
    ('tiktok', written_user_lists)])
def test_published_data_through_every_format_and_back(tmp_path, name, written):
    matrices = of_real(name)
    assert run(tmp_path, *written(matrices, tmp_path)) == 0
    for part, stem in SPLITS.items():
        again = load_matrix(tmp_path / 'made', stem)
        assert again.shape == matrices[part].shape
        for array in ('data', 'indices', 'indptr'):
            np.testing.assert_array_equal(getattr(again, array), getattr(matrices[part], array))


TABLE = 'user,item,time\n' + ''.join(f'u{n % 5},i{n},{1500000000 + n}\n' for n in range(50))


def prepared(tmp_path, content, *flags, name='a.csv'):
    """(exit code, what was said) of a file with this content."""
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return run(tmp_path, tmp_path / name, *flags)


LATER = TABLE + 'u1,i77,1500000099\n' * 150


@pytest.mark.parametrize(('content', 'flags', 'told'), [
    (LATER + 'u1\0,i1,5\n', (), 'line 202 holds a NUL byte'),
    (LATER.encode() + b'u1\xe9,i1,5\n', (), 'line 202 is not UTF-8'),
    (LATER + 'u1,"i1,5\n', (), "line 202, column 'item' opens a quote that the line does not close"),
    (LATER + '"u1"x,i1,5\n', (), "line 202, column 'user' goes on after a closing quote"),
    (LATER + 'u1,"i\n1",5\n', (), "line 202, column 'item' opens a quote"),
    (LATER + 'u1,i1\n', (), "line 202 has 2 cells and the header 3: there is none for column 'time'"),
    (LATER + '\n\nu1,i1,5,6\n', (), "line 204 has 4 cells and the header 3: '6' comes after the last column"),
    (LATER + '\u00a0,i1,5\n', (), "line 202 has no user in column 'user'"),
    (LATER + 'user,item,time\nu1,i1,5\n', (), 'line 202 is a header among the rows'),
    (LATER + ' USER ,Item_ID,time\nu1,i1,5\n', (), 'line 202 is a header among the rows'),
    (TABLE.partition('\n')[2] + TABLE, ('--user', 1, '--item', 2), 'line 51 is a header among the rows'),
    (LATER + '\nTotal,200,\n', (), "line 203 seems to sum up the rows above it ('Total' for the id of a user)"),
    (LATER + 'u9,(200 rows),5\n', (), "line 202 seems to sum up the rows above it ('(200 rows)' for the id"),
    (TABLE.replace('time\n', 'time\ntext,text,seconds\n'), (), 'the row below the header seems to be one more'),
    ('# clicks of 2020\n' + TABLE, (), "line 1 seems to be a comment ('# clicks of 2020')"),
    (LATER[:-4], (), "line 201, the last, has no line end, and its last cell ('1500000') is shorter than those above"),
    (''.join(f'{n},{n % 5},{n % 7}\n' for n in range(99)), ('--user', 1, '--item', 2), 'which only count the rows'),
    (TABLE.replace('u', '') .replace('i', '').replace('ser,tem,tme', 'user,item,time') + 'nan,1,1500000099\n', (),
     "line 52 has 'nan' for the id of a user, where all others are numbers: it seems to be missing"),
    ('user,item\n1,5\n1,1.23E+12\n', (), "line 3 has '1.23E+12' for the id of an item: a spreadsheet or"),
    ('{"user_id": ["u1", "u2"], "item_id": ["i1", "i2"]}', (), 'is one JSON object of columns (user_id, item_id)'),
    (LATER + 'u1,i1,\n', ('--split', 'time'), "line 202 has no time in column 'time'"),
    (LATER + 'u1,i1,nan\n', ('--split', 'time'), "line 202, column 'time': 'nan' is not a finite number"),
    (LATER + 'u1,i1,1500000000000\n', ('--split', 'time'),
     'line 202, column \'time\': 1500000000000 seems to be in Unix milliseconds, but those before it in Unix seconds'),
    (LATER.replace('time', 'x_label').replace(',15000000', ','), (), "are no split: '00'"),
    (TABLE.replace('user,item,time\n', ''), (), 'seems to have no header'),
    (TABLE, ('--user', 1, '--item', 2), 'has a header (user, item, time)'),
    (TABLE.replace('user,item', 'who,what'), ('--user', 1, '--item', 2), 'has a header (who, what, time)'),
    (TABLE.replace('time\n', 'when\n').replace('user,item', 'who,what'), ('--user', 1, '--item', 2), 'has a header'),
    (TABLE.replace('user,item,time', '0,1,2'), ('--user', 1, '--item', 2), 'the header that pandas writes'),
    (TABLE.replace('time\n', 'item\n'), (), "has 2 columns 'item'"),
    (TABLE.replace(',', ' ,').replace('user', '| user'), (), 'no column that is known to name the user'),
    ('|user|item|\n|----|----|\n|u1|i1|\n', (), 'line 2 only rules a line below the header'),
    ('<!DOCTYPE html><html>\n', (), 'is an HTML page'), (pickle.dumps([1]), (), 'is a pickle'),
    (pickle.dumps({'a': 1}, 0), (), 'is a pickle'), (TABLE.encode('utf-16'), (), 'is text in UTF-16'),
    (b'SQLite format 3\0', (), 'is an SQLite data base'), (b'PAR1broken', (), 'cannot be read'),
    (gzip.compress(LATER.encode())[:-30], (), 'is damaged or cut short'),
    ('{"user": "u1", "item": "i1"}\n{"user": "u1", "item": }\n', (), 'line 2 is not a JSON object'),
    ('{"user": "u1", "item": "i1"}\n\n{"user": "u1", "item": ["i1"]}\n', (), "line 3, column 'item' holds '[\"i1\"]'"),
    ('{"user": "u1", "item": "i1"}\n{"user": "u1"}\n', (), "line 2 has no item in column 'item'"),
    ('{"user": "u1", "item": "i1", "user": "u2"}\n', (), "has the key 'user' twice"),
    ('{"user": "u1", "item": "i1"}\n{"user": 12345678901234567890.0, "item": "i1"}\n', (), 'too large to be exact'),
    ("{'user': 'u1', 'item': 'i1'}\n", (), 'an object of Python with single quotes'),
    ('{\n"data": {"user": "u1"}}\n', (), 'is one JSON object with the keys data'),
    ('[["u1", "i1"]]', (), 'is a JSON array with'), ('[]', (), 'without anything in it'),
    ('{"u1": ["i1"], "u2": [{"item": "i2"}]}', (), "user 'u2' has"),
    ('0 1 2\n1 3\n0 4\n', (), '--format lists reads a list of items on each line'),
    ('u1 i1 5\nu1 i2\n', ('--user', 1, '--item', 2), 'line 2 has 2 cells and the first row 3'),
    (TABLE, ('--item', 'items'), "Did you mean item?"), (TABLE, ('--label', 'time', '--time', 'none'), 'are no split'),
    (TABLE, ('--train', 'a.csv'), 'either as FILE or as'), (TABLE, ('--format', 'parquet'), 'is no Parquet file'),
    (TABLE, ('--time_format', '%d/%m/%Y', '--split', 'time'), "'1500000000' is not a time as --time_format")])
def test_files_that_are_refused(tmp_path, capsys, content, flags, told):
    assert prepared(tmp_path, content, *flags) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count('\n') == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.csv']


def packed_in_zip(content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr('__MACOSX/._clicks.csv', b'\0\5\x16\7')
        archive.writestr('README.md', 'clicks')
        archive.writestr('data/clicks.csv', gzip.compress(content.encode()))
    return file.getvalue()


def as_parquet(**columns):
    file = io.BytesIO()
    pa.parquet.write_table(pa.table(columns), file)
    return file.getvalue()


PLAIN = [(f'u{n % 5}', f'i{n}') for n in range(50)]


@pytest.mark.parametrize(('content', 'flags'), [
    (TABLE, ()), (packed_in_zip(TABLE), ()), (TABLE.replace('\n', '\r\n'), ()), (TABLE.replace('\n', '\r'), ()),
    ('\ufeff' + TABLE.rstrip(), ()), (TABLE.replace('\n', '\n\n  \n'), ()), (TABLE.replace('\n', ',\n'), ()),
    (TABLE.replace('\n', ',\n').replace('time,', 'time'), ()), (TABLE.replace('time', 'time,'), ()),
    ('sep=;\n' + TABLE.replace(',', ';'), ()), (TABLE.replace(',', '\t'), ()), (TABLE.replace(',', ' , '), ()),
    (TABLE.replace(',', '   ').replace('\n', ' \n '), ()),
    ('user item\ru0 i0\r  \r' + '\r'.join(f'{user} {item}' for user, item in PLAIN[1:]), ()),
    (TABLE.replace(',', '::'), ()),
    ('"' + TABLE.replace(',', '","').replace('\n', '"\n"')[:-1], ()),
    ('"' + TABLE.replace(',', '"\t"').replace('\n', '"\n"')[:-1], ()),
    (TABLE.replace('user,item', 'User ID,Product-Id'), ()), (TABLE.replace('user', '"#USER"'), ()),
    (TABLE.replace('user,item', 'who,what'), ('--user', 'WHO', '--item', 'what')),
    (TABLE.replace('user,item', 'who,what'), ('--user', 1, '--item', 2, '--header', 'yes')),
    (TABLE.partition('\n')[2], ('--user', 1, '--item', 2, '--time', 3)),
    (TABLE.replace('user,item,time', 'user:token,item:token,time:float'), ()),
    (TABLE.replace(',15', ',soon15'), ()), (TABLE.replace(',1500000010', ',1500000000000'), ()),
    (as_parquet(user=[user for user, _ in PLAIN], item=[f' {item}' for _, item in PLAIN]), ()),
    (json.dumps([{'user': user, 'item': item, 'more': {'a': [1]}} for user, item in PLAIN], indent=1), ()),
    ('\n'.join(json.dumps({'user_id': user, 'item_id': item, 'n': n if n % 2 else str(n)})
               for n, (user, item) in enumerate(PLAIN)), ()),
    (json.dumps({user: [item for one, item in PLAIN if one == user] for user in ('u0', 'u1', 'u2', 'u3', 'u4')}), ()),
    ('\n'.join(' '.join([user, *(item for one, item in PLAIN if one == user)])
               for user in ('u0', 'u1', 'u2', 'u3', 'u4', 'u7')), ('--format', 'lists'))])
def test_forms_of_the_same_table(tmp_path, content, flags):
    assert prepared(tmp_path, content, *flags) == 0
    assert together(tmp_path) == sorted(PLAIN)


@pytest.mark.parametrize(('content', 'told'), [
    (TABLE.replace('u3', 'nan'), "WARNING: 'nan' is taken for the id of a user like any other"),
    (TABLE.replace('u', '').replace('i', '').replace('ser,tem,tme', 'user,item,time') + '1,-1,1500000099\n',
     "WARNING: '-1' is taken for the id of an item like any other"),
    ('user,item\n' + ''.join(f'u{n % 2},{n}e+05\n' for n in range(9)) + 'u1,7\n', "9 items have ids like '0e+05'"),
    ('user,item\n' + ''.join(f'{n % 5}.0,i{n}\n' for n in range(50)), "all users have ids like '0.0', as pandas"),
    (TABLE.replace(',', '\t').replace('u1', '"u1"'), "1 users have quotes at both ends of their ids"),
    (TABLE + 'u1,caf\u00e9,1500000099\nu1,cafe\u0301,1500000099\n', '1 items have an id that differs from another'),
    (TABLE.replace('1500000007', '0'), "(Unix seconds, but 1 of them below 100000000, so in or before 1973)"),
    (TABLE.replace(',', ';').replace('time', 'time; in, seconds, UTC').replace('\n', ';\n'), "separator ';'")])
def test_what_may_have_been_meant_otherwise_is_said(tmp_path, capsys, content, told):
    assert prepared(tmp_path, content) == 0
    assert told in capsys.readouterr().out


@pytest.mark.parametrize('names', [('xl/workbook.xml', 'a.xml'), ('content.xml',), ('arr_0.npy',), ('a.npy', 'b.npy')])
def test_archives_that_are_no_table(tmp_path, capsys, names):
    with zipfile.ZipFile(tmp_path / 'a.csv', 'w') as archive:
        for name in names:
            archive.writestr(name, TABLE)
    assert run(tmp_path, tmp_path / 'a.csv') == 2
    assert ('is a NumPy archive' if 'npy' in names[0] else 'is a workbook') in capsys.readouterr().err


@pytest.mark.parametrize('cells', [
    ('007', '7', 'nan', 'NA', 'null', 'None', '1e3', '-', "d'or", '1.0', 'a b', '#1', 'Ünï')])
@pytest.mark.parametrize('separator', [',', '\t', ';'])
def test_ids_are_text(tmp_path, cells, separator):
    rows = [('u', cell) for cell in cells] + [('v', f'{cell}\u3000 ') for cell in cells]
    text = ''.join(separator.join(row) + '\n' for row in [('user', 'item'), *rows])
    assert prepared(tmp_path, text) == 0
    assert ids(tmp_path, 'items') == list(cells)


def test_ids_that_are_numbers_in_the_file(tmp_path):
    """Parquet and JSON have numbers, of which whole ones are written as such whatever their type."""
    expected = [('5', str(n)) for n in range(10)]
    contents = [as_parquet(user=pa.array([5] * 10, pa.int8()), item=pa.array(range(10), pa.float32())),
                '\n'.join(json.dumps({'user': 5.0, 'item': float(n)}) for n in range(10)),
                '\n'.join(json.dumps({'user': 5, 'item': n if n % 2 else str(n)}) for n in range(10))]
    for number, content in enumerate(contents):
        out = tmp_path / str(number)
        out.mkdir()
        assert prepared(out, content) == 0
        assert together(out) == expected


ISO = [f'2024-03-{n + 1:02} 10:00:00' for n in range(9)]


@pytest.mark.parametrize(('times', 'flags', 'told'), [
    (ISO, (), 'dates'), ([f'{time[:10]}' for time in ISO], (), 'dates'),
    ([f'{time}+02:00'.replace(' ', 'T') for time in ISO], (), 'dates'),
    ([f'{time}.{n}' if n % 2 else f'{time}.{n:09}Z' for n, time in enumerate(ISO)], (), 'dates'),
    ([f'{n + 1}/3/24 9h' for n in range(9)], ('--time_format', '%d/%m/%y %Hh'), 'as %d/%m/%y %Hh'),
    (['20231231', *(f'202401{n + 10}' for n in range(8))], (), 'plain numbers'),
    ([1.5e9 + n / 4 for n in range(9)], (), 'Unix seconds'), ([1500000000000 + n for n in range(9)], (), 'Unix millis'),
    ([1500000000 * 10**9 + 10**6 * n for n in range(9)], (), 'Unix nanoseconds'), (range(9), (), 'plain numbers')])
def test_times_in_every_form(tmp_path, capsys, rng, times, flags, told):
    rows = [(f'u{n % 3}', f'i{n}', time) for n, time in enumerate(times)]
    text = ''.join('{},{},{}\n'.format(*rows[n]) for n in rng.permutation(9))
    assert prepared(tmp_path, 'user,item,when\n' + text, '--time', 'when', '--split', 'time', '--ratio', 1, 1, 1,
                    *flags) == 0
    assert f"time = 'when' ({told}" in capsys.readouterr().out
    assert [sorted(item for _, item in of_split) for of_split in pairs(tmp_path).values()] == [
        ['i0', 'i1', 'i2'], ['i3', 'i4', 'i5'], ['i6', 'i7', 'i8']]


def test_parquet_with_times_and_truths(tmp_path):
    content = as_parquet(user=['u'] * 6, item=list('abcdef'), liked=[True] * 5 + [False],
                         at=pa.array([5, 4, 3, 2, 1, 0], pa.timestamp('ms')))
    assert prepared(tmp_path, content, '--rating', 'liked', '--min_rating', 1, '--time', 'at',
                    '--split', 'leave-one-out') == 0
    assert pairs(tmp_path) == {'train': [('u', 'c'), ('u', 'd'), ('u', 'e')], 'val': [('u', 'b')], 'test': [('u', 'a')]}


@pytest.mark.parametrize('words', [('0', '1', '2'), ('train', 'VALID', 'Test'), ('Training', 'dev', 'tst'),
                                   ('0.0', '1.0', '2.0')])
def test_labels_by_number_and_word(tmp_path, words):
    rows = [('a', 'x', 0), ('a', 'y', 1), ('b', 'x', 2), ('b', 'z', 0)]
    text = 'user,item,part\n' + ''.join(f'{user},{item},{words[label]}\n' for user, item, label in rows)
    assert prepared(tmp_path, text, '--label', 'part') == 0
    assert pairs(tmp_path) == {'train': [('a', 'x'), ('b', 'z')], 'val': [('a', 'y')], 'test': [('b', 'x')]}


def test_a_pair_in_two_splits_is_said_and_counts_once(tmp_path, capsys):
    for name, text in (('train', '0 5 6\n1 5\n'), ('test', '0 7 6\n1 8\n2\n')):
        (tmp_path / f'{name}.txt').write_text(text)
    assert run(tmp_path, '--train', tmp_path / 'train.txt', '--test', tmp_path / 'test.txt') == 0
    said = capsys.readouterr().out
    assert 'WARNING: 1 pairs of user and item are in more than one split' in said
    assert '1 users without items' in said
    assert pairs(tmp_path) == {'train': [('0', '5'), ('0', '6'), ('1', '5')], 'val': [],
                               'test': [('0', '7'), ('1', '8')]}


def test_lists_of_as_many_items_are_told_by_the_other_file(tmp_path):
    (tmp_path / 'train.txt').write_text('0 5 6\n1 5\n')
    (tmp_path / 'test.txt').write_text('0 7\n1 8\n')
    assert run(tmp_path, tmp_path / 'train.txt', tmp_path / 'test.txt') == 0
    assert pairs(tmp_path)['test'] == [('0', '7'), ('1', '8')]


@pytest.mark.parametrize(('files', 'told'), [
    (('a.csv', 'b.csv'), 'has train, valid or test in its name'), (('x.train.csv', 'y.train.csv'), 'is a second one'),
    (('x.train.csv', 'x.valid.csv'), '--train FILE and --test FILE'), ((), '--train FILE and --test FILE'),
    (('x.train.csv', 'x.test.csv', '--split', 'random'), 'The files are the split'),
    (('x.train.csv', 'other.test.csv'), 'would be read from columns of different names')])
def test_files_that_do_not_go_together(tmp_path, capsys, files, told):
    for name in files:
        (tmp_path / name).write_text(TABLE if 'other' not in name else TABLE.replace('item', 'asin'))
    words = [tmp_path / name if name.endswith('csv') else name for name in files]
    assert run(tmp_path, *words) == 2
    assert told in capsys.readouterr().err


def test_an_archive_with_several_tables_is_refused_by_their_names(tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / 'ml.zip', 'w') as archive:
        for name in ('ml/ratings.csv', 'ml/movies.csv', 'ml/README.txt'):
            archive.writestr(name, TABLE)
    assert run(tmp_path, tmp_path / 'ml.zip') == 2
    assert 'ml/movies.csv, ml/ratings.csv' in capsys.readouterr().err
