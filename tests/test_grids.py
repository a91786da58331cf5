"""The grids of Table II: the same budget for every model, and no chosen point at the end of what was tried."""
import json

import pytest

from Baselines import MODELS
from Experiments.Grids import points_of, read_grids
from Experiments.Tables import ROOT
from figures.performance import GRIDS

CONTENT = json.loads(GRIDS.read_text())
SWEPT = sorted((ROOT / 'results').glob('*/baselines/*/sweep.json'))


@pytest.mark.parametrize('data', ['tiktok', 'baby', 'sports'])
@pytest.mark.parametrize('model', [model for model in CONTENT['models'] if model != 'pop'])
def test_the_same_budget(model, data):
    grid, flags = read_grids(GRIDS, model, data)
    assert len(points_of(grid)) == 4
    if not MODELS[model].closed_form:
        assert flags[flags.index('--patience') + 1] == str(CONTENT['common']['patience'])


def tried(folder, flag):
    """Its values in all points of a sweep's folder, those of earlier grids among them."""
    words = [word.split('=') for path in folder.glob('*=*') for word in path.name.split(',')]
    return [float(value) for name, value in words if name == flag]


@pytest.mark.parametrize('path', SWEPT, ids=lambda path: '/'.join(path.parts[-4:-1:2]))
def test_the_chosen_point_is_inside_its_grid(path):
    """Or the grid was moved twice."""
    data, model = path.parts[-4], path.parts[-2]
    moved = CONTENT['moved'].get(data, {}).get(model, 0)
    for flag, value in json.loads(path.read_text())['chosen']['settings'].items():
        values = tried(path.parent, flag)
        if flag != 'cl_method':  # of two kinds
            assert min(values) < float(value) < max(values) or moved == 2, (flag, value, values)
