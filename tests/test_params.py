"""Flags: published names, defaults and command lines; ranges; one-sentence errors."""
import dataclasses

import pytest

from Params import parse
from Utils.Errors import InputError

PUBLISHED_DEFAULTS = {
    'lr': 1e-3, 'batch': 1024, 'tstBat': 256, 'reg': 1e-5, 'epoch': 50, 'latdim': 64, 'gnn_layer': 1, 'topk': 20,
    'ssl_reg': 1e-2, 'temp': 0.5, 'tstEpoch': 1, 'gpu': '0', 'seed': 421, 'guide_fused_hidden_dim': 64,
    'keepRate': 0.5, 'dims': (1000,), 'd_emb_size': 10, 'norm': False, 'steps': 5, 'noise_scale': 0.1,
    'noise_min': 1e-4, 'noise_max': 0.02, 'sampling_noise': False, 'sampling_steps': 0, 'rebuild_k': 1, 'e_loss': 0.1,
    'ris_lambda': 0.5, 'ris_adj_lambda': 0.2, 'trans': 0, 'cl_method': 0}

PUBLISHED_COMMANDS = {
    '--data tiktok --reg 1e-4 --ssl_reg 1e-2 --epoch 50 --trans 1 --e_loss 0.1 --cl_method 1 --latdim 512 '
    '--gnn_layer 1 --temp 0.5 --steps 5':
        {'data': 'tiktok', 'reg': 1e-4, 'trans': 1, 'cl_method': 1, 'latdim': 512},
    '--data baby --reg 1e-5 --ssl_reg 1e-1 --keepRate 1 --e_loss 0.01 --gnn_layer 2 --latdim 256 --temp 0.5 '
    '--steps 20': {'data': 'baby', 'ssl_reg': 0.1, 'keepRate': 1, 'gnn_layer': 2, 'steps': 20},
    '--data sports --reg 1e-6 --ssl_reg 1e-2 --temp 0.1 --ris_lambda 0.1 --e_loss 0.5 --keepRate 1 --trans 1 '
    '--gnn_layer 1 --latdim 256 --temp 0.1 --steps 5':
        {'data': 'sports', 'temp': 0.1, 'ris_lambda': 0.1, 'e_loss': 0.5},
}


def test_published_defaults():
    settings = dataclasses.asdict(parse([]))
    assert {name: settings[name] for name in PUBLISHED_DEFAULTS} == PUBLISHED_DEFAULTS
    assert settings['data'] == 'demo'


@pytest.mark.parametrize(('command', 'expected'), PUBLISHED_COMMANDS.items())
def test_published_commands(command, expected):
    settings = dataclasses.asdict(parse(command.split()))
    assert {name: settings[name] for name in expected} == expected


@pytest.mark.parametrize(('words', 'value'), [
    ([], False), (['--norm'], True), (['--norm', 'True'], True), (['--norm', 'false'], False),
    (['--norm', 'False'], False), (['--norm', 'no'], False), (['--norm', '1'], True)])
def test_booleans_are_booleans(words, value):
    assert parse(words).norm is value
    assert parse([word.replace('norm', 'sampling_noise') for word in words]).sampling_noise is value


@pytest.mark.parametrize(('words', 'value'), [
    (['1000'], (1000,)), (['512', '256'], (512, 256)), (['[1000]'], (1000,)), (['[512, 256]'], (512, 256)),
    (['[512,', '256]'], (512, 256)), (['512,256'], (512, 256))])
def test_dims(words, value):
    assert parse(['--dims', *words, '--steps', '5']).dims == value


@pytest.mark.parametrize(('words', 'value'), [
    ([], None), (['--noise_levels'], ()), (['--noise_levels', '0', '1', '2.5'], (0, 1, 2.5))])
def test_noise_levels(words, value):
    assert parse(words).noise_levels == value


@pytest.mark.parametrize(('line', 'message'), [
    ('--epoch 0', "--epoch: got 0, expected a whole number of at least 1"), ('--lr nan', '--lr: got nan'),
    ('--lr 0', 'above 0'), ('--lr inf', 'got inf'), ('--latdim 6.5', "'6.5', expected a whole number"),
    ('--keepRate 1.5', 'at most 1'), ('--trans 3', 'at most 2'), ('--cl_method x', "'x'"), ('--temp 0', 'above 0'),
    ('--norm maybe', "'maybe', expected true or false"), ('--dims []', 'got no number'), ('--dims 1e3', "'1e3'"),
    ('--dims __import__', "'__import__'"), ('--dims 0', 'at least 1'),
    ('--dims [100', "got '[100', with a bracket that has no other one"), ('--noise_levels -1', 'expected'),
    ('--lat 64', 'unrecognized arguments: --lat'),
    ('--latdin 4', 'Did you mean --latdim?'), ('--cuda', 'unrecognized'), ('--guidance some', 'released'),
    ('--steps 5 --sampling_steps 6', '--sampling_steps 6 is more than --steps 5'),
    ('--noise_min 0.3 --noise_max 0.2', 'swap'), ('--noise_scale 60', 'below 1'), ('--gpu one', "'one'"),
    ('--data', 'expected one argument'), ('--seed -1', 'at least 0'),
    ('--batch 100000000000000000000', 'of at most 2147483647'), ('--out=', 'got a blank')])
def test_bad_flags(line, message):
    with pytest.raises(InputError) as error:
        parse(line.split())
    assert message in str(error.value)
    assert '\n' not in str(error.value)


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        parse([]).epoch = 3


def test_every_flag_has_a_help_line(capsys):
    with pytest.raises(SystemExit) as done:
        parse(['--help'])
    assert done.value.code == 0
    text = capsys.readouterr().out
    for name in PUBLISHED_DEFAULTS:
        assert f'--{name} ' in text
    assert 'default: None' not in text
