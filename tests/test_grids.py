"""Baselines/grids.json: the same budget for every model."""
import json

import pytest

from Baselines import MODELS
from Experiments.Grids import points_of, read_grids
from Experiments.Tables import ROOT

GRIDS = ROOT / 'Baselines' / 'grids.json'
CONTENT = json.loads(GRIDS.read_text())


@pytest.mark.parametrize('data', ['tiktok', 'baby', 'sports'])
@pytest.mark.parametrize('model', [model for model in CONTENT['models'] if model != 'pop'])
def test_the_same_budget(model, data):
    grid, flags = read_grids(GRIDS, model, data)
    assert len(points_of(grid)) == 4
    if not MODELS[model].closed_form:
        assert flags[flags.index('--patience') + 1] == str(CONTENT['common']['patience'])
