"""Baselines/grids.json: the same budget for every model on TikTok, and no best point on the edge of its grid."""
import json

import pytest

from Baselines import MODELS
from Experiments.Grids import Range, edges_of, points_of, read_grids
from Experiments.Tables import ROOT

GRIDS = ROOT / 'Baselines' / 'grids.json'
CONTENT = json.loads(GRIDS.read_text())


def moves(data, model):
    return CONTENT['moved'].get(data, {}).get(model, 0)


def is_earlier(data, model):
    """Of a grid with a patience of its own, from before all had the same budget; TikTok has none."""
    return data != 'tiktok' and 'patience' in CONTENT['data'].get(data, {}).get(model, {})


@pytest.mark.parametrize(('data', 'model'), [
    (data, model) for data in ('tiktok', 'baby', 'sports') for model in CONTENT['models']
    if model != 'pop' and not is_earlier(data, model)])
def test_the_same_budget(model, data):
    grid, flags = read_grids(GRIDS, model, data)
    assert len(points_of(grid)) in {0: [4], 1: [5, 6], 2: [6, 8]}[moves(data, model)]
    if not MODELS[model].closed_form:
        assert flags[flags.index('--patience') + 1] == str(CONTENT['common']['patience'])


def test_no_best_point_is_on_the_edge_of_its_grid():
    found = set()
    for path in ROOT.glob('results/*/baselines/*/sweep.json'):
        data, model = path.parts[-4], path.parts[-2]
        grid, _ = read_grids(GRIDS, model, data)
        chosen = json.loads(path.read_text())['chosen']['settings']
        if moves(data, model) < 2:
            found |= {(data, model, flag) for flag in edges_of(grid, chosen)}
    assert found == set()


def test_edges():
    grid = {'reg': ['0.1', '1', '0.01'], 'lr': ['0.1', '0.2'], 'ssl_task': ['a', 'b', 'c'], 'temp': Range(0, 1)}
    for reg, expected in (('0.01', ['reg']), ('0.1', []), ('1', ['reg'])):
        assert edges_of(grid, {'reg': reg, 'lr': '0.1', 'ssl_task': 'a', 'temp': '0'}) == expected
