"""Runs made several at a time, and shared by several workers: nothing is lost and nothing made twice."""
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import SEED, planted, write_dataset
from test_resume import left

import Main
from Experiments import Estimates, Pool, Slots, Sweep
from Experiments.Estimates import in_words
from Experiments.Jobs import Job
from Experiments.Pool import make_runs
from Experiments.Slots import Slot, add_slots, slots_of
from Experiments.Sources import Source
from Params import Parser, parse
from Runs.Company import LOST
from Runs.Lock import Lock
from Runs.Results import RunFolder
from Utils.Errors import InputError

ROOT = Path(__file__).resolve().parent.parent
TINY = '--latdim 4 --dims 8 --guide_fused_hidden_dim 4 --batch 64 --topk 5 --lr 0.02 --device cpu --epoch 20'
# A worker that notes which runs it begins: their process numbers
WORKER = '''
import sys
from Experiments import Estimates as estimates, Pool, Slots, Sweep
launch = Pool.launch
def noted(job, slot):
    process = launch(job, slot)
    with open(sys.argv[1], 'a') as file:
        file.write(f'{process.pid} {job.folder}\\n')
    return process
Pool.launch = noted
sys.exit(Sweep.main(sys.argv[2:]))
'''


@pytest.fixture
def flags(rng, tmp_path):
    write_dataset(tmp_path / 'data' / 'tiny', *planted(rng))
    return f'--data tiny --data_dir {tmp_path / "data"} {TINY}'.split()


@pytest.fixture
def begin(tmp_path):
    """Begins a worker with these flags of a sweep, two threads in all; its process. All of them end with the test."""
    workers = []

    def begin(*words):
        with open(tmp_path / f'said{len(workers)}', 'w') as file:
            workers.append(subprocess.Popen(
                [sys.executable, '-c', WORKER, str(tmp_path / 'begun'), *words], cwd=ROOT, text=True, stdout=file,
                env={**os.environ, 'OMP_NUM_THREADS': '2', 'PYTHONPATH': str(ROOT)}, stderr=subprocess.STDOUT))
        return workers[-1]

    yield begin
    for process in workers:
        process.kill()
        process.wait()
    for number, folder in begun(tmp_path):
        if alive(number) and folder in Path(f'/proc/{number}/cmdline').read_text():
            os.kill(int(number), signal.SIGKILL)


@pytest.fixture
def in_process(monkeypatch):
    """Runs are made one after the other, without processes of their own."""
    def launch(job, slot):
        assert Main.main([*job.command()[1:], *slot.flags(), '--resume']) == 0
        return subprocess.Popen(['true'], stdout=subprocess.PIPE)

    monkeypatch.setattr(Pool, 'launch', launch)


def alive(number):
    try:
        return 'Z' not in Path(f'/proc/{number}/stat').read_text().rpartition(')')[2].split()[0]
    except OSError:
        return False


def wait_for(condition, seconds=90):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def begun(tmp_path):
    """(process number, folder) of every run that was begun."""
    path = tmp_path / 'begun'
    return [line.split(' ', 1) for line in path.read_text().splitlines()] if path.exists() else []


def results(out):
    """What the sweep left, but for the seconds: every run and what was chosen."""
    chosen = (out / 'sweep.json').read_text().replace(str(out), 'OUT')
    return {str(path.parent.relative_to(out)): left(path.parent) for path in out.glob('*/*/result.json')}, chosen


def test_workers_and_runs_are_killed_at_random(flags, begin, in_process, tmp_path):
    """Two workers at a time on one folder; SIGKILL now to one of them, now to a run, and in the end there is what one
    worker makes with a thread for each run."""
    words = ['--grid', 'temp=0.2,0.5', *flags, '--seeds', '1', '2', '--out']
    assert Sweep.main([*words, str(tmp_path / 'alone')]) == 0
    out, pick, finished = tmp_path / 'sweep', random.Random(SEED), {}
    workers, kills = [begin(*words, str(out), '--jobs', '2') for _ in range(2)], []
    while len(kills) < 4 and any(worker.poll() is None for worker in workers):
        time.sleep(pick.uniform(0.3, 1.5))
        finished |= {path: path.stat().st_mtime_ns for path in out.glob('*/*/result.json') if path not in finished}
        at_work = [(int(number), folder) for number, folder in begun(tmp_path) if alive(number)]
        if kills.count('worker') < 2 and pick.random() < 0.4:
            at = pick.randrange(2)
            workers[at].kill()
            workers[at].wait()
            kills.append('worker')
            workers[at] = begin(*words, str(out), '--jobs', '2')
        elif at_work:
            os.kill(pick.choice(at_work)[0], signal.SIGKILL)
            kills.append('run')
    codes = {worker.wait(120) for worker in workers}
    if codes != {0}:  # a run that was killed twice before it got any further counts as failed
        assert codes <= {0, 2}
        assert begin(*words, str(out)).wait(120) == 0
    said = '\n'.join(path.read_text() for path in tmp_path.glob('said*'))
    assert 'Traceback' not in said, said
    assert results(out) == results(tmp_path / 'alone'), kills
    starts = [folder for _, folder in begun(tmp_path)]
    assert len(set(starts)) == len(finished_runs := [*out.glob('*/*/result.json')]) == 4
    # a worker takes its two runs with it; one that it had just begun may not hold its folder yet when another worker
    # begins it once more, and that one ends at once when it sees that the folder is held
    again = kills.count('run') + 4 * kills.count('worker') + (codes != {0})
    assert len(starts) <= len(finished_runs) + again, (starts, kills)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished, 'no finished run is made again'
    assert not [*out.rglob('.*'), *out.rglob('*partial*'), *out.rglob('checkpoint*')], 'nothing is left of the dead'


def test_a_run_outlives_its_worker_no_longer_than_an_epoch(flags, begin, tmp_path):
    """It is left alone while it is at work, and ends, saved, when nobody hears what it says."""
    flags[flags.index('--epoch') + 1] = '100000'
    words = ['--grid', 'temp=0.2', *flags, '--out', str(tmp_path / 'sweep')]
    flags += ['--temp', '0.2']
    worker, folder = begin(*words), tmp_path / 'sweep' / 'temp=0.2' / 'seed421'
    wait_for((folder / 'metrics.csv').exists)
    number = int(begun(tmp_path)[0][0])
    os.kill(number, signal.SIGSTOP)  # as in the middle of a long epoch
    worker.kill()
    worker.wait()
    pool = Pool.Pool([Job(folder, tuple(flags))], [Slot()], Source(), False)
    assert pool.claim(pool.left[0]), 'that of a worker that died is free'
    assert pool.run_at_work(pool.left[0])
    assert not pool.may_begin(pool.left[0])
    os.kill(number, signal.SIGCONT)
    wait_for(lambda: not alive(number))
    assert not pool.run_at_work(pool.left[0])
    assert (folder / 'checkpoint.pt').exists()


# A worker by itself; runs are stubs

@pytest.fixture
def launched(monkeypatch):
    """The runs that were begun: (job, slot). A run is a shell command, by the name of the job's folder, in that folder;
    by default it finishes."""
    found, commands = [], {}
    monkeypatch.setattr(Pool, 'POLL', 0.05)

    def launch(job, slot):
        found.append((job, slot))
        job.folder.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(['sh', '-c', commands.get(job.folder.name, FINISH)], cwd=job.folder,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    monkeypatch.setattr(Pool, 'launch', launch)
    return SimpleNamespace(found=found, commands=commands, names=lambda: [job.folder.name for job, _ in found])


RESULT = {'dataset': 'tiny', 'seconds': 3, 'best_val': None, 'best_test': {'epoch': 0, 'recall': 0.5},
          'config': {'seed': 1, 'threads': 1, 'settings': {'model': 'lightgcn', 'data': 'tiny', 'epoch': 50}}}
FINISH = f"touch checkpoint.pt embeddings.npz; echo '{json.dumps(RESULT)}' > result.json"


def jobs_in(folder, *names, flags='--model lightgcn --data tiny --epoch 50'):
    return [Job(folder / name, tuple(flags.split())) for name in names]


def test_each_run_has_a_slot_of_its_own(launched, tmp_path):
    slots = [Slot(2, ('cuda:0',)), Slot(2, ('cuda:1',))]
    for name in 'abcd':
        launched.commands[name] = f'sleep 0.2; {FINISH}'
    began = time.monotonic()
    make_runs(jobs_in(tmp_path, *'abcd'), slots)
    assert 0.4 < time.monotonic() - began < 3
    assert launched.names() == list('abcd')
    assert [slot for _, slot in launched.found[:2]] == slots
    assert {slot for _, slot in launched.found} == set(slots)
    assert {path.name for path in tmp_path.glob('*/*')} == {'result.json'}
    assert not list(tmp_path.glob('.*'))
    assert slots[0].environment()['OMP_NUM_THREADS'] == slots[0].environment()['MKL_NUM_THREADS'] == '2'
    assert slots[1].flags() == ('--device', 'cuda:1')
    assert Slot().environment().get('OMP_NUM_THREADS') == os.environ.get('OMP_NUM_THREADS')


def test_what_others_hold_is_waited_for(launched, tmp_path, capsys, monkeypatch):
    """Of two jobs that others hold one is finished there, the other is given up."""
    jobs = jobs_in(tmp_path, *'abc')
    finishing, dying = Lock(jobs[0].mark('claim')), Lock(jobs[1].mark('claim'))
    assert finishing.take()
    assert dying.take()

    told, say = threading.Event(), Pool.Pool.say_for_whom
    monkeypatch.setattr(Pool.Pool, 'say_for_whom', lambda pool: (say(pool), told.set()))

    def others():
        told.wait(30)  # until it waits, however long the third job takes
        jobs[0].folder.mkdir()
        (jobs[0].folder / 'result.json').write_text(json.dumps(RESULT))
        finishing.release()
        time.sleep(0.3)
        dying.release()

    thread = threading.Thread(target=others)
    thread.start()
    make_runs(jobs, [Slot(), Slot()])
    thread.join()
    assert launched.names() == ['c', 'b']
    said = capsys.readouterr().out
    assert f'waiting for 2 runs at work elsewhere: {jobs[0].folder} (process {os.getpid()} on ' in said
    assert said.count('waiting') == 1


def test_a_run_that_fails_does_not_stop_the_others(launched, tmp_path, capsys):
    jobs = jobs_in(tmp_path, *'abcd')
    launched.commands |= dict.fromkeys('ac', 'echo Main.py: too wide.; exit 2') | {'b': 'echo; exit 1'}
    late = Pool.Pool(jobs, [Slot()], Source(), False)
    with pytest.raises(InputError) as error:
        make_runs(jobs, [Slot(), Slot()])
    assert launched.names() == list('abcd')
    assert (tmp_path / 'd' / 'result.json').exists()
    assert str(error.value) == (
        f'The runs {tmp_path / "a"}, {tmp_path / "c"} failed: Main.py: too wide. The run {tmp_path / "b"} failed: exit '
        f'code 1. The others are made. To see all that the first of them says: python {ROOT / "Main.py"} --model '
        f'lightgcn --data tiny --epoch 50 --out {tmp_path / "a"} --resume')
    assert f'{tmp_path / "a"} failed: Main.py: too wide.' in capsys.readouterr().out, 'at once, too'

    launched.found.clear()
    with pytest.raises(InputError, match='too wide'):
        late.work()
    assert not launched.found, 'a worker that began before they failed leaves them out'
    launched.commands.clear()
    make_runs(jobs)
    assert launched.names() == list('abc'), 'one that begins later tries again'
    assert not list(tmp_path.glob('.*'))


def test_a_run_that_is_killed_goes_on_as_long_as_it_gets_further(launched, tmp_path):
    further = 'n=$(ls | grep -c kill); touch kill$n; sleep 0.02; touch checkpoint.pt'
    launched.commands |= {'a': f'{further}; [ $n = 3 ] && {{ {FINISH}; exit; }}; kill -9 $$', 'b': 'kill -9 $$'}
    with pytest.raises(InputError, match=rf'The run {tmp_path}/b failed: was killed twice by signal 9 without getting'):
        make_runs(jobs_in(tmp_path, *'ab'))
    assert launched.names() == ['a', 'b', 'a', 'b', 'a', 'a']
    assert (tmp_path / 'a' / 'result.json').exists()


def test_a_run_that_another_was_quicker_than_has_not_failed(launched, tmp_path):
    """One that outlived its worker had the folder, and has ended since."""
    in_use = f'echo "Main.py: {RunFolder.IN_USE} x (process 1 on y): wait."; exit 2'
    launched.commands['a'] = f'[ -e first ] || {{ touch first; {in_use}; }}; rm first; {FINISH}'
    make_runs(jobs_in(tmp_path, 'a'))
    assert launched.names() == ['a', 'a']
    assert {path.name for path in (tmp_path / 'a').iterdir()} == {'result.json'}
    assert not list(tmp_path.glob('.*'))


def test_what_a_dead_worker_left_behind_is_removed(launched, tmp_path):
    """It died between the end of its run and the removal of what only serves to continue it."""
    job = jobs_in(tmp_path, 'a')[0]
    subprocess.run(['sh', '-c', f'mkdir {job.folder}; cd {job.folder}; {FINISH}'], check=True)
    pool = Pool.Pool(jobs_in(tmp_path, 'a'), [Slot()], Source(), False)
    pool.left = [job]  # as seen before it was finished
    subprocess.run([sys.executable, '-c', 'import os, sys; from Runs.Lock import Lock; lock = Lock(sys.argv[1]); '
                    'lock.take(); os._exit(9)', str(job.mark('claim'))], cwd=ROOT, check=False)
    assert job.mark('claim').exists()
    pool.work()
    assert not launched.found
    assert {path.name for path in job.folder.iterdir()} == {'result.json'}
    assert not list(tmp_path.glob('.*'))


def options_of(*words):
    parser = Parser()
    add_slots(parser)
    return parser.parse_args(words)


def test_threads_are_shared_and_devices_handed_out(monkeypatch):
    monkeypatch.setattr(Slots.torch, 'get_num_threads', lambda: 8)
    monkeypatch.setattr(Slots, 'choose_device', lambda name: name)
    assert slots_of(options_of()) == [Slot()]
    assert slots_of(options_of('--jobs', '1')) == [Slot()]
    assert slots_of(options_of('--jobs', '3')) == [Slot(2)] * 3
    assert slots_of(options_of('--jobs', '9')) == [Slot(1)] * 9
    assert slots_of(options_of('--devices', 'cuda:0', 'cuda:1')) == [Slot(4, ('cuda:0',)), Slot(4, ('cuda:1',))]
    assert [slot.devices for slot in slots_of(options_of('--jobs', '4', '--devices', 'cuda:0', 'cuda:1'))] == [
        ('cuda:0',), ('cuda:1',)] * 2
    assert slots_of(options_of('--devices', 'cuda:1')) == [Slot(None, ('cuda:1',))]
    for words, sentence in ((['--jobs', '1', '--devices', 'cuda:0', 'cuda:1'], 'is less than the 2 devices'),
                            (['--jobs', '3', '--devices', 'cuda:0', 'cuda:1'], 'no multiple of the 2 devices')):
        with pytest.raises(InputError, match=sentence):
            slots_of(options_of(*words))
    with pytest.raises(InputError, match='leave one out'):
        slots_of(options_of('--devices', 'cuda:0'), ('--device=cuda:0',))


def test_several_processes_for_each_run(monkeypatch):
    monkeypatch.setattr(Slots.torch, 'get_num_threads', lambda: 8)
    monkeypatch.setattr(Slots, 'choose_device', lambda name: name)
    four = ('--devices', *(f'cuda:{number}' for number in range(4)))
    assert slots_of(options_of('--devices_per_run', '2')) == [Slot(4, (), 2)]
    assert slots_of(options_of('--devices_per_run', '2', '--jobs', '2')) == [Slot(2, (), 2)] * 2
    first, second = slots_of(options_of('--devices_per_run', '2', *four))
    assert (first, second) == (Slot(2, ('cuda:0', 'cuda:1'), 2), Slot(2, ('cuda:2', 'cuda:3'), 2))
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    assert second.environment()['CUDA_VISIBLE_DEVICES'] == '2,3'
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '4,5,6,7')
    assert second.environment()['CUDA_VISIBLE_DEVICES'] == '6,7'
    assert second.flags() == ('--device', 'cuda')
    assert second.program()[1:] == ('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2')
    for words in (('--devices_per_run', '3', *four), ('--devices_per_run', '2', '--devices', 'cpu', 'cuda:0')):
        with pytest.raises(InputError, match=r'are not [23] CUDA devices for each run'):
            slots_of(options_of(*words))


def test_a_run_of_two_processes(flags, tmp_path):
    job = Job(tmp_path / 'run', (*flags, '--epoch', '2'))
    make_runs([job], [Slot(1, (), 2)])
    assert json.loads((job.folder / 'result.json').read_text())['config']['ranks'] == 2


def test_what_torchrun_says_after_a_run_is_passed_over(launched, tmp_path):
    torchrun = 'echo "====="; exit 1'
    launched.commands |= {
        'a': f'echo "Main.py: --topk is too large"; {torchrun}',
        'b': f'[ -e first ] && {{ rm first; {FINISH}; exit; }}; touch first; echo "Main.py: {LOST}: ..."; {torchrun}'}
    with pytest.raises(InputError, match=r'/a failed: Main.py: --topk is too large'):
        make_runs(jobs_in(tmp_path, *'ab'))
    assert launched.names() == ['a', 'b', 'b']


def test_the_time_that_is_left_is_that_of_the_runs_most_alike(tmp_path, monkeypatch):
    monkeypatch.setattr(Estimates, 'RESULTS', tmp_path / 'results')

    def save(folder, seconds, flags, threads=2):
        settings = asdict(parse(['--epoch', '50', *flags.split(), '--data', 'tiny']))
        folder.mkdir(parents=True)
        (folder / 'result.json').write_text(json.dumps(
            {'config': {'settings': settings, 'threads': threads}, 'seconds': seconds}))

    def about(flags, threads=None):
        job = Job(Path('x'), ('--epoch', '50', *flags.split(), '--data', 'tiny'))
        return Estimates.Estimates([tmp_path / 'own'], threads).seconds(job)

    assert about('--model lightgcn') is None
    save(tmp_path / 'results' / 'a' / 'b', 100, '--model lightgcn --seed 1')
    save(tmp_path / 'results' / 'c', 300, '--model lightgcn --latdim 128')
    save(tmp_path / 'own', 150, '--model lightgcn --seed 2', threads=1)
    save(tmp_path / 'results' / 'd', 7, '--model ease --epoch 3')
    (tmp_path / 'results' / 'e').mkdir()
    (tmp_path / 'results' / 'e' / 'result.json').write_text('{')
    assert about('--model lightgcn') == 125
    assert about('--model lightgcn', threads=1) == 150
    assert about('--model lightgcn --epoch 100') == 250
    assert about('--model lightgcn --latdim 128 --seed 5') == 300
    assert about('--model lightgcn --latdim 256') == pytest.approx((100 + 150 + 300) / 3)
    assert about('--model ease') == 7, 'a closed form has one epoch'
    assert about('--model ngcf') is None
    assert [in_words(seconds) for seconds in (0, 89, 91, 5300, 5500)] == ['1 s', '89 s', '2 min', '88 min', '1.5 h']


def test_before_it_starts_it_says_how_many_are_missing_and_for_how_long(launched, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Estimates, 'RESULTS', tmp_path / 'results')
    make_runs(jobs_in(tmp_path, 'a'))
    assert '1 of 1 run is missing: no finished run is like them' in capsys.readouterr().out
    other = jobs_in(tmp_path, 'x', flags='--model ngcf --data tiny')
    launched.commands['b'] = f'sleep 0.1; {FINISH}'
    make_runs([*jobs_in(tmp_path, *'abc'), *other], [Slot(1), Slot(1)])
    said = capsys.readouterr().out
    assert '3 of 4 runs are missing; 2 at a time: about 3 s for 2 of them; no finished run is like the others' in said
    assert re.search(r'best test Recall 0.5000, 3 s \| 2 of 4 runs, about \d s left', said)
    class Search(Source):
        def later(self):
            return 3

    make_runs(jobs_in(tmp_path, *'abd'), source=Search())
    said = capsys.readouterr().out
    assert '4 of 6 runs are missing (3 of points that are still to be chosen): about 12 s' in said
    assert '3 of 6 runs, about 9 s left' in said
    make_runs([*jobs_in(tmp_path, *'abc'), *other])
    assert 'all 4 runs are there' in capsys.readouterr().out
