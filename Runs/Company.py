"""The processes that make a run together: one alone, or those that torchrun started, which are its ranks.

All of them train (Utils/Ranks.py has how). The first one, rank 0, alone reads and writes the run's folder and speaks. A
process that ends early leaves a word in torchrun's store; the others find it gone at their next exchange, and the first
one says why. Where the first one was killed, one of the others does.
"""
import io
import json
import os
import signal
import socket
import sys
import time
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from Params import parse
from Runs.Flags import PLACE
from Runs.Identity import PARTS, SIDES
from Runs.Results import RunFolder
from Runs.Signals import install, restore
from Utils.Command import run_command
from Utils.Device import choose_device
from Utils.Errors import InputError, StoppedError
from Utils.Ranks import RankLostError, lost_ranks_told

STEP = timedelta(seconds=60)  # within which every process has to answer while they compute
PATIENT = timedelta(hours=2)  # for what takes some longer than others: reading the data, and the first one's writing
LISTEN = 5  # seconds in which the first process, where it is left, says why the run ends
LOST = 'One of the processes of the run was killed, or does not answer'
OF_A_MACHINE = (*PLACE, 'data')  # flags that may differ from one to the other


class Company:
    """What a process has to know of the others; by default there are none."""

    first, size, where = True, 1, ''

    def folder(self, path):
        return RunFolder(path)

    def device(self, settings):
        return choose_device(settings.device, settings.gpu)

    def from_first(self, function, argv):
        """What function returns, (settings, state) or None, called by the first process alone; argv: this one's line.
        """
        return function()

    def require_same(self, config, device):
        """InputError where the data, the program or the kind of device are not the same in all processes; config: that
        of the run."""

    def agreed(self, number):
        """The highest of the processes' numbers; None counts as 0."""
        return number

    def meet(self):
        """Wait until all processes are here."""

    def first_alone(self):
        """A company of the first process alone; None in the others, which are no longer needed."""
        return self


class Ranks(Company):
    """One of the processes that torchrun started."""

    def __init__(self):
        self.store, rank, self.size = next(dist.rendezvous('env://', timeout=STEP))
        nccl = torch.cuda.is_available() and dist.is_nccl_available()
        dist.init_process_group('cpu:gloo,cuda:nccl' if nccl else 'gloo', store=dist.PrefixStore('run', self.store),
                                rank=rank, world_size=self.size, timeout=STEP)
        self.patient = dist.new_group(backend='gloo', timeout=PATIENT)
        self.rank, self.first = rank, rank == 0
        self.ended_by_others = False
        self.local, self.here = (int(os.environ[name]) for name in ('LOCAL_RANK', 'LOCAL_WORLD_SIZE'))
        self.where = f' on {socket.gethostname()}' if self.here < self.size else ''

    def folder(self, path):
        return RunFolder(path) if self.first else ElsewhereFolder(path)

    def device(self, settings):
        n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if settings.device == 'cpu' or (settings.device == 'auto' and not n_gpus and settings.gpu == '0'):
            return torch.device('cpu')
        if settings.device not in ('auto', 'cuda') or settings.gpu != '0':
            one = f'--device {settings.device}' if settings.device != 'auto' else f'--gpu {settings.gpu}'
            raise InputError(f'{one} names one device, but torchrun gives each of its processes one of its own: leave '
                             'it out, and choose them by CUDA_VISIBLE_DEVICES.')
        if self.here > n_gpus:
            raise InputError(f'torchrun started {self.here} processes{self.where}, where torch sees {n_gpus or "no"} '
                             f'CUDA devices: give --nproc_per_node {max(n_gpus, 1)}, or --device cpu.')
        device = choose_device('cuda', str(self.local))
        torch.cuda.set_device(device)
        return device

    def from_first(self, function, argv):
        work = function() if self.first else None
        told = [work and (asdict(work[0]), sorted(work[0].given), work[1])]
        with lost_ranks_told():
            dist.broadcast_object_list(told, 0, group=self.patient)
        if self.first or told[0] is None:
            return work
        values, given, state = told[0]
        ours = parse(argv, combined=False)
        for name in sorted({*given, *ours.given} - {*OF_A_MACHINE}):
            if (name in given) != (name in ours.given) or getattr(ours, name) != values[name]:
                raise InputError(f'Process {self.rank}{self.where} was given another --{name} than process 0 '
                                 f'({getattr(ours, name)} and {values[name]}): start all of them by the same command.')
        return parse(argv, values), state

    def require_same(self, config, device):
        facts, everyone = shared_facts(config, device), [None] * self.size
        with lost_ranks_told():
            dist.all_gather_object(everyone, (self.where, facts), group=self.patient)
        for number, (where, theirs) in enumerate(everyone):
            if other := [name for name, value in everyone[0][1].items() if theirs.get(name) != value]:
                raise InputError(f'Process {number}{where} has other {", ".join(other)} than process 0: every machine '
                                 'needs the same data, program and kind of device.')

    def agreed(self, number):
        highest = torch.tensor(number or 0)
        with lost_ranks_told():
            dist.all_reduce(highest, dist.ReduceOp.MAX, group=self.patient)
        return int(highest) or None

    def meet(self):
        if dist.is_initialized():
            with lost_ranks_told():
                dist.barrier(group=self.patient)

    def first_alone(self):
        self.meet()
        dist.destroy_process_group()
        return Company() if self.first else None

    # How they end

    def last_word(self):
        """Why another process has ended early, as far as it could say."""
        with suppress(RuntimeError):  # torchrun may be gone, and its store with it
            if self.store.check(['word']):
                return self.store.get('word').decode()
        return None

    def leave_word(self, sentence):
        with suppress(RuntimeError):
            self.store.compare_set('word', '', sentence)

    def may_speak(self):
        """Whether it falls to this process to say why the run ends: to the first one, or to one that hears nothing."""
        with suppress(RuntimeError):
            until = time.monotonic() + (0 if self.first else LISTEN)
            while time.monotonic() < until:
                if self.store.check(['speaker']):
                    return False
                time.sleep(0.05)
            mine = str(self.rank)
            return self.store.compare_set('speaker', '', mine).decode() == mine
        return True


def run_in_company(name, function, memory_advice):
    """`run_command` of function(company). Under torchrun, all processes end together."""
    if 'TORCHELASTIC_RUN_ID' not in os.environ:
        return run_command(name, lambda: function(Company()), memory_advice)
    try:
        company = Ranks()
    except (RuntimeError, ValueError) as error:
        print(f'{name}: the processes of the run do not find each other within a minute '
              f'({str(error).splitlines()[0]}): check the addresses that torchrun was given.', file=sys.stderr)
        return 2

    said, told = io.StringIO(), []

    def work():
        try:
            with ended_by_others(company):
                function(company)
                company.meet()
        except InputError as error:
            told.append(str(error))
            raise

    aside = nullcontext() if company.first else redirect_stdout(open(os.devnull, 'w'))  # noqa: SIM115 (to the end)
    try:
        with aside, nullcontext() if company.first else redirect_stderr(said):
            code = run_command(name, work, memory_advice)
    except BaseException as error:
        company.leave_word(f'Process {company.rank}{company.where} ended with an error of the program '
                           f'({type(error).__name__}).')
        raise
    if code:
        for sentence in told:
            tell_torchrun(sentence)
        leave(company, code, said.getvalue(), name)
    if dist.is_initialized():
        dist.destroy_process_group()
    return 0


def tell_torchrun(sentence):
    """Have it stand in what torchrun says at the end, which comes after all that this process can say."""
    with suppress(KeyError, OSError):
        Path(os.environ['TORCHELASTIC_ERROR_FILE']).write_text(json.dumps(
            {'message': {'message': sentence, 'extraInfo': {'timestamp': str(int(time.time()))}}}))


def leave(company, code, said, name):
    """End this process at once: its exchanges with others that no longer answer would never end.

    said: what it had to say, which the first one has said already and another one leaves to that.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun ends the processes that are left
    if code == 2 and not company.first and not company.ended_by_others:
        company.leave_word(said.removeprefix(f'{name}: ').strip())
    elif company.may_speak():
        sys.stderr.write(said)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@contextmanager
def ended_by_others(company):
    """Let the end of another process, or torchrun's signal after it, end this one with what that one had to say."""
    def stopped(number, _):
        word = company.last_word()
        company.ended_by_others = bool(word)
        raise InputError(word) if word else StoppedError(number, 'stopped without saving')

    before = install((signal.SIGTERM,), stopped)
    try:
        yield
    except RankLostError as error:
        company.ended_by_others = True
        if company.first and not company.may_speak():  # another one has, which waited for this one in vain
            leave(company, 2, '', '')
        raise InputError(company.last_word() or f'{LOST}: the run ends. What was saved last is kept, and --resume goes '
                         'on from there.') from error
    finally:
        restore(before)


def shared_facts(config, device):
    """What has to be the same in all processes, by its name."""
    parts = config[PARTS]
    data = {'interactions': parts['interactions'], **{f'ids of {side}': parts[side] for side in SIDES},
            **{f'{name} features': digest for name, digest in parts['features'].items()},
            'modalities': list(parts['features'])}
    kind = torch.cuda.get_device_name(device) if device.type == 'cuda' else device.type
    return {**data, 'revision of the program': config['git'], 'torch': config['versions']['torch'], 'device': kind}


class ElsewhereFolder:
    """The run's folder as a process sees it that has no part in it: the first one reads and writes it."""

    def __init__(self, path):
        self.path, self.rows = path, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def holds_a_run(self):
        return False

    def resume(self, config, rows):
        self.rows = list(rows)

    def add_metrics(self, row):
        self.rows.append(row)

    def begin(self, config):
        pass

    def replace_earlier(self):
        pass

    def save_checkpoint(self, state):
        pass

    def finish(self, keep_checkpoint):
        pass

    def write_json(self, name, content):
        pass

    def write_arrays(self, name, arrays, compressed=True):
        pass
