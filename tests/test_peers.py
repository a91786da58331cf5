"""The comparison with other libraries, without them."""
import csv
import warnings

import pytest
from test_benchmark import TINY

from Benchmark import Peers
from Benchmark.__main__ import main


def directly(function, *arguments):
    with warnings.catch_warnings():
        return function(*arguments)


@pytest.mark.parametrize('name', Peers.WORK)
def test_who_is_not_installed_is_left_out_with_a_sentence(monkeypatch, name):
    monkeypatch.setattr(Peers, 'version', lambda package: (_ for _ in ()).throw(Peers.PackageNotFoundError(package)))
    row = Peers.peer_row(name, TINY, None, directly)
    assert row['ours_s'] > 0
    assert row['note'] == f'not installed: pip install {row["peer"]}'
    assert 'ratio' not in row


def test_who_fails_is_left_out_with_a_sentence(monkeypatch):
    def fails(shape, matrices):
        raise AttributeError('np.float_ was removed\nand more')

    monkeypatch.setitem(Peers.WORK, 'iALS sweep', ('implicit', fails, Peers.ials_sweep))
    monkeypatch.setattr(Peers, 'version', lambda package: '9.9')
    row = Peers.peer_row('iALS sweep', TINY, None, directly)
    assert row['peer'] == 'implicit 9.9'
    assert row['note'] == 'does not run here: AttributeError: np.float_ was removed'


def test_the_ratio_is_how_many_times_as_long_the_peer_takes(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(Peers, 'version', lambda package: '9.9')
    monkeypatch.setattr(Peers, 'WORK', {'both': ('peer', lambda *_: 3.0, lambda *_: 2.0)})
    monkeypatch.setattr('Benchmark.__main__.WORK', Peers.WORK)
    monkeypatch.setattr('Benchmark.__main__.SHAPES', {'tiny': TINY})
    main(['--peers', '--to', str(tmp_path)])
    with open(tmp_path / 'peers.csv', newline='') as file:
        row, = csv.DictReader(file)
    assert row == {'work': 'both', 'shape': 'tiny', 'peer': 'peer 9.9', 'peer_s': '3', 'ours_s': '2', 'ratio': '1.5',
                   'note': ''}
    table, = tmp_path.glob('*.md')
    assert 'both' in table.read_text()
    assert '1.5' in capsys.readouterr().out
