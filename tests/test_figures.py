"""Figures: what is flagged in the published table, and which runs make one row."""
import json

from figures.performance import impossible, ours, published


def test_published_cells_that_cannot_be():
    assert impossible(0.0380, 0.0018, one_test_item=False), 'below recall / 20'
    assert not impossible(0.1193, 0.0060, one_test_item=True)
    assert impossible(0.0658, 0.0034, one_test_item=True), 'one hit at most: precision is recall / 20'
    assert not impossible(0.0658, 0.0034, one_test_item=False)
    assert not impossible(0.0010, 0.00005, one_test_item=True)
    marked = [row['model'] for row in published() if row['published R / N / P@20'].endswith('!')]
    assert marked == ['NCL', 'HCCF', 'VBPR', 'GRCN', 'CLCRec', 'MMGCL']


def test_runs_that_differ_in_the_seed_make_one_row(tmp_path):
    def result(name, seed, recall, **changed):
        settings = {'model': 'mdmns', 'seed': seed, 'epoch': 30, 'modalities': None, 'latdim': 64, 'cl_method': 0,
                    'guidance': 'released', 'out': name, **changed}
        metrics = {'epoch': 1, 'recall': recall, 'ndcg': 0.5, 'precision': 0.25}
        (tmp_path / name).mkdir()
        (tmp_path / name / 'result.json').write_text(json.dumps({
            'dataset': 'tiny', 'config': {'settings': settings, 'dataset': {'modalities': {'image': 3}}},
            'best_test': metrics, 'best_val': None if name == 'c' else {'epoch': 1, 'test': metrics}}))
        return tmp_path / name

    paths = [result('a', 1, 0.1), result('b', 2, 0.3), result('c', 1, 0.7, latdim=8), result('short', 1, 0.9, epoch=2)]
    rows = list(ours(paths))
    assert [row['seeds'] for row in rows] == [2, 1]
    assert rows[0]['best on test R / N / P@20'].startswith('0.2000 ± 0.1414 / 0.5000 ± 0.0000')
    assert rows[1]['selected on validation R / N / P@20'] .strip(' /') == ''
