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


# as docs/RESULTS.md says
EVERY_EPOCH = {'tiktok': {'mmgcn', 'ials', 'diffmm', 'mdmns'}, 'baby': {'ials', 'mmgcn', 'diffmm', 'mdmns'},
               'sports': {'ials', 'mmgcn', 'diffmm', 'mdmns', 'mgcn', 'mmgcl', 'slmrec', 'clcrec'}}
CHOICES = {'cl_method', 'routing'}  # numbers that are names


@pytest.mark.parametrize(('data', 'model'), [(data, model) for data in EVERY_EPOCH for model in CONTENT['models']
                                             if model != 'pop'])
def test_the_same_budget(model, data):
    grid, flags = read_grids(GRIDS, model, data)
    assert len(points_of(grid)) in {0: [4], 1: [5, 6], 2: [6, 8, 9]}[moves(data, model)]
    if not MODELS[model].closed_form:
        patience, every = (flags[flags.index(f'--{flag}') + 1] for flag in ('patience', 'tstEpoch'))
        assert (patience, every) == ('10', '1' if model in EVERY_EPOCH[data] else '3')


def test_no_best_point_is_on_the_edge_of_its_grid():
    found = set()
    for path in ROOT.glob('results/*/baselines/*/sweep.json'):
        data, model = path.parts[-4], path.parts[-2]
        grid, _ = read_grids(GRIDS, model, data)
        swept = json.loads(path.read_text())
        least = 2 if swept['finished'] == len(points_of(grid)) else 3
        if moves(data, model) < 2:
            found |= {(data, model, flag) for flag in edges_of(grid, swept['chosen']['settings'], least)
                      if flag not in CHOICES}
    assert found == set()


def test_edges():
    grid = {'reg': ['0.1', '1', '0.01'], 'lr': ['0.1', '0.2'], 'ssl_task': ['a', 'b', 'c'], 'temp': Range(0, 1)}
    for reg, expected in (('0.01', ['reg']), ('0.1', []), ('1', ['reg'])):
        point = {'reg': reg, 'lr': '0.1', 'ssl_task': 'a', 'temp': '0'}
        assert (edges_of(grid, point), edges_of(grid, point, least=2)) == (expected, [*expected, 'lr'])
