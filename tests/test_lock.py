"""Lock files: one holder at a time, on one machine or on several, and what is left of holders that died."""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import Runs.Lock
from Runs.Lock import Lock
from Runs.Results import RunFolder
from Utils.Errors import InputError

ROOT = Path(__file__).resolve().parent.parent
ELSEWHERE = 'filelock/2\npid={pid}\nhost=elsewhere\nmode=lease\ntoken=abc\nduration={stale!r}\n'


@pytest.fixture
def soon(monkeypatch):
    """What takes minutes takes tenths of a second."""
    monkeypatch.setattr(Runs.Lock, 'STALE', 0.4)
    monkeypatch.setattr(Runs.Lock, 'HEARTBEAT', 0.1)
    monkeypatch.setattr(Runs.Lock, 'FRESH', 0.2)


def held_elsewhere(path, age=0.0):
    """A lock file as a process on another machine leaves it, last touched so long ago."""
    path.write_text(ELSEWHERE.format(pid=os.getpid(), stale=float(Runs.Lock.STALE)))
    os.utime(path, (time.time() - age,) * 2)


def holder(path):
    """A process that holds the lock; killed, it has not even been waited for."""
    code = (f'import time; from Runs.Lock import Lock; lock = Lock({str(path)!r}); assert lock.take(); '
            'print(flush=True); time.sleep(60)')
    process = subprocess.Popen([sys.executable, '-c', code], cwd=ROOT, stdout=subprocess.PIPE)
    process.stdout.readline()
    return process


def test_one_at_a_time_and_the_next_after_the_end(tmp_path):
    first, second = Lock(tmp_path / 'lock'), Lock(tmp_path / 'lock')
    assert first.take()
    assert not second.take()
    assert not second.take_when_left(), 'a holder that is alive is not waited for'
    assert f'process {os.getpid()} on ' in second.holder()
    first.check()
    first.release()
    assert second.take()
    with pytest.raises(InputError, match='no longer holds'):
        first.check()
    second.release()
    assert not list(tmp_path.iterdir())


def test_a_holder_that_was_killed_is_followed_at_once(tmp_path):
    process = holder(tmp_path / 'lock')
    lock = Lock(tmp_path / 'lock')
    assert not lock.take()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = time.monotonic()
    assert lock.take()
    assert time.monotonic() - before < 5 < Runs.Lock.STALE
    lock.check()
    lock.release()


def test_a_holder_on_another_machine_lives_as_long_as_it_shows_life(tmp_path, soon):
    path = tmp_path / 'lock'
    held_elsewhere(path)
    lock = Lock(path)
    for _ in range(8):  # longer than STALE
        os.utime(path)
        assert not lock.take()
        assert not Lock(path).take_when_left()
        time.sleep(0.1)
    assert 'on elsewhere' in lock.holder()
    before = time.monotonic()
    os.utime(path)
    time.sleep(0.25)
    assert Lock(path).take_when_left(), 'a run that is begun alone watches it'
    assert 0.39 < time.monotonic() - before < 5


def test_a_sign_of_life_ends_the_watching(tmp_path, soon, monkeypatch, capsys):
    path = tmp_path / 'lock'
    held_elsewhere(path, age=60)  # or the machines' clocks differ
    toucher = subprocess.Popen([sys.executable, '-c', 'import os, sys, time\nwhile True: os.utime(sys.argv[1]); '
                                'time.sleep(0.02)', str(path)])
    try:
        deadline = time.monotonic() + 20
        while time.time() - path.stat().st_mtime > 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        monkeypatch.setattr(Runs.Lock, 'FRESH', 0)  # as if the clocks differed by more
        assert not Lock(path).take_when_left()
    finally:
        toucher.kill()
        toucher.wait()
    assert 'is held by process' in capsys.readouterr().out


@pytest.mark.parametrize('age', [0, 3600])
def test_an_empty_lock_file_is_left_alone_only_while_it_is_new(tmp_path, age):
    """A process that loses its power between making the file and its first word leaves it so."""
    path = tmp_path / 'lock'
    path.touch()
    os.utime(path, (time.time() - age,) * 2)
    lock = Lock(path)
    assert lock.take() == (age > 0)
    if age:
        lock.release()
        assert not list(tmp_path.iterdir())


def test_a_run_that_was_taken_over_writes_nothing_more(tmp_path):
    """It stood still for too long, and a process on another machine took its folder."""
    with RunFolder(tmp_path / 'run') as out:
        out.begin({'a': 1})
        (tmp_path / 'run' / '.lock').unlink()
        held_elsewhere(tmp_path / 'run' / '.lock')
        (tmp_path / 'run' / 'config.json').write_text('theirs')
        for write in (lambda: out.write_json('result.json', {}), lambda: out.add_metrics({'epoch': 0}),
                      lambda: out.begin({})):
            with pytest.raises(InputError, match=r'no longer holds .*process .* on elsewhere has taken the work over'):
                write()
    assert (tmp_path / 'run' / 'config.json').read_text() == 'theirs'
    assert 'elsewhere' in (tmp_path / 'run' / '.lock').read_text()
