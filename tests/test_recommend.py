"""Recommendations as files: held against the saved embeddings, and read by an independent evaluator."""
import csv
import json

import ir_measures
import numpy as np
import pytest
from conftest import planted, write_dataset
from ir_measures import P, R, nDCG

from DataHandler import load_dataset
from Main import main

FLAGS = ['--data', 'tiny', '--dims', '16', '--latdim', '8', '--batch', '64', '--epoch', '3', '--topk', '5', '--lr',
         '0.01', '--modalities', 'image', 'text']


@pytest.fixture
def data_dir(rng, tmp_path):
    folder = write_dataset(tmp_path / 'data' / 'tiny', *planted(rng))
    for side, size in (('users', 60), ('items', 40)):
        with open(folder / f'{side}.csv', 'w', newline='') as file:
            csv.writer(file).writerows([('index', 'id'), *((n, f'{side[0]}-{n}') for n in range(size))])
    return folder.parent


def train(data_dir, out, *flags):
    return main([*FLAGS, '--data_dir', str(data_dir), '--out', str(out), *flags])


def read(path):
    with open(path, newline='') as file:
        return list(csv.DictReader(file))


def test_another_evaluator_finds_our_metrics(data_dir, tmp_path):
    assert train(data_dir, tmp_path / 'run', '--recommend', str(tmp_path / 'best.trec')) == 0
    ours = json.loads((tmp_path / 'run' / 'result.json').read_text())['best_val']['test']
    test = load_dataset(data_dir, 'tiny').test.tocoo()
    qrels = [ir_measures.Qrel(f'u-{user}', f'i-{item}', 1) for user, item in zip(test.row, test.col, strict=True)]
    assert {line.split()[5] for line in (tmp_path / 'best.trec').read_text().splitlines()} == {'mdmns'}
    run = list(ir_measures.read_trec_run(str(tmp_path / 'best.trec')))
    theirs = ir_measures.calc_aggregate([R @ 5, nDCG @ 5, P @ 5], qrels, run)
    for measure, name in ((R @ 5, 'recall'), (nDCG @ 5, 'ndcg'), (P @ 5, 'precision')):
        assert theirs[measure] == pytest.approx(ours[name], abs=1e-6), name


def test_a_saved_run_gives_the_same_lists(data_dir, tmp_path, capsys):
    first, second = tmp_path / 'first.csv', tmp_path / 'second.csv'
    assert train(data_dir, tmp_path / 'run', '--recommend', str(first)) == 0
    assert main(['--load', str(tmp_path / 'run'), '--recommend', str(second)]) == 0
    assert first.read_text() == second.read_text()
    assert 'recommendations of 5 items for 60 users' in capsys.readouterr().out
    assert main(['--load', str(tmp_path / 'run'), '--recommend', str(second), '--topk', '2']) == 0
    rows = read(second)
    assert [row['rank'] for row in rows] == ['1', '2'] * 60
    assert list(rows[0]) == ['user', 'rank', 'item', 'score']
    embeddings, train_matrix = np.load(tmp_path / 'run' / 'embeddings.npz'), load_dataset(data_dir, 'tiny').train
    for row in rows:
        user, item = int(row['user'][2:]), int(row['item'][2:])
        score = sum(embeddings[f'{name}_users'][user] @ embeddings[f'{name}_items'][item]
                    for name in ('fused', 'image', 'text'))
        assert float(row['score']) == pytest.approx(score, rel=1e-4)
        assert train_matrix[user, item] == 0


def test_without_original_ids_the_numbers_are_written(data_dir, tmp_path):
    for side in ('users', 'items'):
        (data_dir / 'tiny' / f'{side}.csv').unlink()
    assert train(data_dir, tmp_path / 'run', '--recommend', str(tmp_path / 'best.csv')) == 0
    assert read(tmp_path / 'best.csv')[0]['user'] == '0'


def test_mistakes(data_dir, tmp_path, capsys):
    run, target = tmp_path / 'run', str(tmp_path / 'best.csv')

    def fails(message, *flags):
        assert main(list(flags)) == 2
        told = capsys.readouterr().err
        assert message in told
        assert told.count('\n') == 1
        assert not (tmp_path / 'best.csv').exists()
        assert not list(tmp_path.glob('.*partial'))

    fails('in a folder that is there', *FLAGS, '--data_dir', str(data_dir), '--recommend',
          str(tmp_path / 'no' / 'a.csv'))
    fails('--load expects the folder of a run', '--load', str(run), '--recommend', target)
    fails('give their file with --recommend', '--load', str(run))
    assert train(data_dir, run) == 0
    capsys.readouterr()
    write_dataset(data_dir / 'other', *planted(np.random.default_rng(0), n_users=30))
    fails('has 60 users and 40 items', '--load', str(run), '--recommend', target, '--data', 'other')
    (data_dir / 'tiny' / 'users.csv').write_text('index,id\n0,a\n')
    fails('names 1 users', '--load', str(run), '--recommend', target)
    (data_dir / 'tiny' / 'users.csv').write_text('index,id\n' + ''.join(f'{n},user {n}\n' for n in range(60)))
    fails('other ids of users (users.csv)', '--load', str(run), '--recommend', target)
    fails('ids with spaces', *FLAGS, '--data_dir', str(data_dir), '--out', str(tmp_path / 'unmade'), '--recommend',
          str(tmp_path / 'best.trec'))
    assert not (tmp_path / 'unmade').exists(), 'said before training'
    assert train(data_dir, run, '--overwrite') == 0
    capsys.readouterr()
    fails('ids with spaces', '--load', str(run), '--recommend', str(tmp_path / 'best.trec'))
    fails('--topk 41 is more than the 40 items of tiny', '--load', str(run), '--recommend', target, '--topk', '41')
    (run / 'embeddings.npz').write_bytes(b'PK\x03\x04 damaged')
    fails('train again', '--load', str(run), '--recommend', target)
    (run / 'embeddings.npz').unlink()
    fails('Train again with --recommend', '--load', str(run), '--recommend', target)
    (run / 'config.json').write_text('{}')
    fails("not a run's config.json", '--load', str(run), '--recommend', target)
