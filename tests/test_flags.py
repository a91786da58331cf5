"""Flags count where a model reads them: what it declares is what it reads, nothing more and nothing less."""
import dataclasses

import pytest
import torch
from conftest import SMALL, WIDTHS, make_dataset

from Baselines import MODELS
from DataHandler import UserRows
from Params import parse
from Runs.Flags import EVERY, flags_read, flags_that_count, model_settings
from Runs.Training import Training
from Utils.Errors import InputError

CASES = ('', '--cl_method 1 --cl_sample 5', '--noise_levels 0 1', '--ssl_task fd',
         '--loss softmax --loss_pop 0.5 --item_lambda 1')  # which together read every flag


@pytest.mark.parametrize('name', MODELS)
def test_a_model_reads_what_it_declares(rng, monkeypatch, name):
    """Two epochs with each of CASES, scores included; the settings note what is read of them."""
    read = set()

    class Recorded:
        def __init__(self, settings, model_class):
            self._settings = model_settings(settings, model_class)

        def __getattr__(self, flag):
            read.add(flag)
            return getattr(self._settings, flag)

    monkeypatch.setattr('Runs.Training.model_settings', Recorded)
    dataset = make_dataset(rng, WIDTHS)
    for case in CASES:
        settings = parse(f'{SMALL} --model {name} --epoch 2 --reg 0.1 {case}'.split())
        training = Training(MODELS[name], settings, dataset, UserRows(dataset.train))
        for _ in range(training.epochs):
            training.train_epoch(lambda: None)
        training.model.scores()(torch.arange(3))
    assert read - EVERY == MODELS[name].flags
    assert MODELS[name].flags <= vars(parse([])).keys()


def test_what_is_not_declared_cannot_be_read():
    settings = model_settings(parse([]), MODELS['lightgcn'])
    assert settings.latdim == 64
    with pytest.raises(InputError, match='The model reads --dims, which the `flags` of its class do not name'):
        settings.dims  # noqa: B018
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.latdim = 3


def test_what_counts():
    assert 'epoch' in flags_that_count(MODELS['ials'])
    assert not {'epoch', 'patience', 'lr', 'latdim'} & flags_read(MODELS['pop'])
    assert 'modalities' in flags_that_count(MODELS['bm3'])
    assert not {'modalities', 'dims', 'neighbours', 'data_dir', 'nce_chunk'} & flags_that_count(MODELS['lightgcn'])
    assert 'nce_chunk' in flags_read(MODELS['sgl'])
    assert 'nce_chunk' not in flags_read(MODELS['lightgcn'])
