"""The benchmark at a size that takes a second: both forms of every stage agree."""
import shlex

import pytest
import torch
from saved_runs import rows_of

from Benchmark.__main__ import epoch_row, main, relative_difference
from Benchmark.Epochs import costs
from Benchmark.Stages import STAGES, Problem, Shape, epoch_counts, plain_needs, work
from Experiments.Tables import write_csv
from figures import variants
from figures.costs import main as time_variants, wanted
from Params import parse
from Utils.Errors import InputError

TINY = Shape('tiny', 50, 30, (300, 20, 25), '--latdim 8 --dims 16 --batch 32 --gnn_layer 2 --trans 1 --topk 5')


@pytest.mark.parametrize('stage', STAGES)
def test_both_forms_of_a_stage_agree(stage):
    plain, ours = ([tensor.double().numpy() for tensor in STAGES[stage](Problem(TINY, None), form)()]
                   for form in (True, False))
    assert relative_difference(plain, ours) < 1e-4
    assert sum(work(stage, TINY, parse(TINY.flags.split()))) > 0


def test_an_epoch_is_the_sum_of_its_stages():
    settings = parse(TINY.flags.split())
    assert epoch_counts(TINY, settings, 1) == {'fusion': 4, 'denoiser_step': 4, 'sampling': 4, 'evaluation': 1,
                                               'negative_sampling': 1, 'training_step_1': 10}
    rows = [{'stage': stage, 'shape': 'tiny', 'plain_s': 6.0, 'ours_s': 2.0, 'limit_s': 1.0, 'ours_mb': number}
            for number, stage in enumerate(STAGES)]
    row = epoch_row(rows, TINY, settings, 1)
    assert (row['plain_s'], row['ours_s'], row['ratio'], row['over_limit']) == (144, 48, 3, 2)
    del rows[0]['plain_s']
    assert 'ratio' not in epoch_row(rows, TINY, settings, 1)


def test_what_would_not_fit_is_known_beforehand():
    big = Shape('big', 10**6, 10**6, (10**7, 1, 1), '')
    assert plain_needs('nce_users', big, parse([]))[0] > 10**12
    assert plain_needs('evaluation', big, parse([])) == (0, 0)


def test_what_a_flag_costs_beside_the_released_setting():
    """Each row's own epochs, and every variant and part that is shown has one."""
    two = [(variants.NAME, name, parse([*TINY.flags.split(), *shlex.split(variants.VARIANTS[name][1])]))
           for name in ('released', 'joint-softmax-items-new')]
    rows = list(costs(torch.device('cpu'), None, two, TINY))
    assert [(row['table'], row['variant']) for row in rows] == [('variants', 'released'),
                                                                ('variants', 'joint-softmax-items-new')]
    assert all(float(row['times the released']) > 0 for row in rows)


def test_every_variant_and_the_chosen_setting_are_timed():
    found = {(table, name): settings for table, name, settings in wanted()}
    assert {name for table, name in found if table == variants.NAME} == set(variants.VARIANTS)
    assert (found['variants', 'softmax'].loss, found['variants', 'released'].loss) == ('softmax', 'bpr')
    assert (found['parts', 'chosen'].dims, found['parts', 'guidance-none'].guidance) == ((100,), 'none')


def test_only_what_is_missing_is_timed(tmp_path, monkeypatch):
    there = [{'table': table, 'variant': name, 'an epoch': '1.00 s', 'times the released': '1.00'}
             for table, name, _ in wanted() if name != 'drawn']
    write_csv(tmp_path / 'there.csv', there)
    monkeypatch.setattr(variants, 'COSTS', tmp_path / 'there.csv')
    new = {'an epoch': '2.00 s', 'times the released': '2.00'}
    monkeypatch.setattr('figures.costs.costs', lambda device, data_dir, some: (
        {'table': table, 'variant': name, **new} for table, name, _ in some))
    for flags, timed in (('--missing', {'drawn'}), ('', {row['variant'] for row in there} | {'drawn'})):
        time_variants([*flags.split(), '--to', str(tmp_path / 'to')])
        rows = rows_of(tmp_path / 'to' / 'there.csv')
        assert len(rows) == len(there) + 1
        assert {row['variant'] for row in rows if row['an epoch'] == '2.00 s'} == timed


@pytest.mark.parametrize(('flags', 'sentence'), [('--device cuda', '--device is for --published'),
                                                 ('--published --device cuda:99', 'CUDA device 99 is not there')])
def test_mistakes(flags, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence):
        main([*flags.split(), '--to', str(tmp_path / 'to')])
