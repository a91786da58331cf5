"""What the log says of the time to come, on a clock that the tests hold."""
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import planted, write_dataset

from Utils import TimeLogger
from Utils.Forecast import Forecast, duration
from Utils.TimeLogger import progress

ROOT = Path(__file__).resolve().parent.parent
STEP = {'denoisers': 2, 'graphs': 1, 'training': 3}  # seconds


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr('Utils.Forecast.perf_counter', lambda: now[0])
    monkeypatch.setattr(TimeLogger.time, 'perf_counter', lambda: now[0])
    monkeypatch.setattr('sys.stderr.isatty', lambda: False, raising=False)
    return now


def epochs_of(clock, stages, n_epochs, first=None, at_most=False, bars=False, evaluation=0.0):
    """Let the epochs' stages go by; stages: name -> number of steps."""
    with Forecast(n_epochs, 'training', at_most) as forecast:
        forecast.bars = bars
        for epoch in range(n_epochs):
            forecast.begin_epoch(epoch)
            for name, steps in ((first or stages) if epoch == 0 else stages).items():
                done, total = steps if isinstance(steps, tuple) else (0, steps)
                for _ in progress(range(total - done), name, done):
                    clock[0] += STEP[name]
            clock[0] += evaluation
            forecast.end_epoch()


def said(capsys):
    return [line[21:] for line in capsys.readouterr().out.splitlines()]


def test_what_is_known_is_said_when_it_is_known(clock, capsys):
    """Denoisers 20 s, graphs 4 s, training 60 s: an epoch of 84 s, ten of them."""
    epochs_of(clock, {'denoisers': 10, 'graphs': 4, 'training': 20}, 10, bars=True)
    assert said(capsys) == [
        'denoisers of epoch 0: step 3 of 10, about 14 s to the last of them',
        'training of epoch 0: step 2 of 20, about 54 s to the end of the epoch, about 14 min to the end of the run']


def test_a_line_a_minute_where_there_are_no_bars(clock, capsys):
    epochs_of(clock, {'denoisers': 10, 'training': 100}, 2)
    lines = said(capsys)
    assert lines[0].startswith('denoisers of epoch 0: step 3 of 10')
    assert lines[1].startswith('training of epoch 0: step 2 of 100')
    assert lines[2] == ('training of epoch 0: step 22 of 100, about 4 min to the end of the epoch, about 9 min to the '
                        'end of the run')
    assert len(lines) == 2 + (640 - 26) // 60
    assert lines[-1] == ('training of epoch 1: step 96 of 100, about 12 s to the end of the epoch, about 12 s to the '
                         'end of the run')


def test_a_hundred_short_steps_over_many_epochs(clock, capsys, monkeypatch):
    monkeypatch.setitem(STEP, 'training', 0.01)
    epochs_of(clock, {'training': 8}, 200, at_most=True, evaluation=0.02)
    assert said(capsys) == ['training of epoch 12: step 4 of 8, about 1 s to the end of the epoch, about 19 s to the '
                            'end of the run, if --patience does not end it before']


def test_an_epoch_without_steps(clock, capsys):
    epochs_of(clock, {}, 10, evaluation=7.0)
    assert said(capsys) == ['about 63 s to the end of the run']


def test_an_epoch_that_was_begun_before_tells_nothing_of_the_run(clock, capsys):
    epochs_of(clock, {'denoisers': 10, 'training': 20}, 5, first={'training': (12, 20)}, bars=True)
    lines = said(capsys)
    assert lines[0] == 'training of epoch 0: step 14 of 20, about 18 s to the last of them'
    assert lines[1].startswith('training of epoch 1: step 2 of 20')
    assert len(lines) == 2


def test_durations():
    assert [duration(seconds) for seconds in (0, 40.4, 100, 3600, 90000)] == [
        'about 1 s', 'about 40 s', 'about 2 min', 'about 60 min', 'about 25.0 h']


def test_nobody_listens_after_the_run(clock, capsys):
    epochs_of(clock, {'training': 2}, 1)
    for _ in progress(range(300), 'training'):
        clock[0] += 10
    assert said(capsys) == []


def test_a_run_says_it(rng, tmp_path):
    """A process of its own, whose output is no terminal: a hundred steps are in its third epoch."""
    write_dataset(tmp_path / 'data' / 'tiny', *planted(rng))
    flags = (f'--data tiny --data_dir {tmp_path / "data"} --topk 5 --model mfbpr --batch 24 --epoch 6 --device cpu '
             f'--out {tmp_path / "run"}')
    done = subprocess.run([sys.executable, 'Main.py', *flags.split()], cwd=ROOT, text=True, capture_output=True,
                          check=True)
    lines = [line for line in done.stdout.splitlines() if 'to the end of the run' in line]
    assert len(lines) == 1
    assert '  training of epoch ' in lines[0]
    assert done.stderr == ''
