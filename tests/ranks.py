"""Several processes that make a run together, forked from the tests' own, so that nothing has to be loaded again."""
import faulthandler
import multiprocessing
import os
import socket
import sys
import traceback
from contextlib import suppress
from datetime import timedelta
from uuid import uuid4

import torch
import torch.distributed as dist

from Main import main

LONGEST = 120  # seconds; a busy machine can be many times slower than one at rest


def in_ranks(size, function, folder):
    """[function() of every rank of a Gloo group of that size]."""
    store = f'file://{folder}/{uuid4().hex}'

    def work(rank):
        dist.init_process_group('gloo', init_method=store, rank=rank, world_size=size,
                                timeout=timedelta(seconds=LONGEST))
        result = function()
        with suppress(RuntimeError, ValueError):  # who is done must not leave before all have met
            dist.barrier()
        return result

    results = forked(size, work)
    for result in results:
        if isinstance(result, str):
            raise AssertionError(result)
    return results


def main_in_ranks(lines, folder, meanwhile=lambda numbers: None):
    """Main.py as torchrun would start it, a command line per rank: [(exit code, stderr)].

    meanwhile: called with the process numbers. The code of a process that a signal ended is that, negative.
    """
    listener = socket.create_server(('127.0.0.1', 0))
    port = listener.getsockname()[1]

    def begin(numbers):
        # torchrun's; its thread must not run before all are forked, since a fork keeps what locks it holds for ever
        store = dist.TCPStore('127.0.0.1', port, is_master=True, wait_for_workers=False,
                              master_listen_fd=listener.detach())
        meanwhile(numbers)
        return store

    def work(rank):
        listener.close()
        os.environ |= {'TORCHELASTIC_RUN_ID': 'test', 'RANK': str(rank), 'WORLD_SIZE': str(len(lines)),
                       'LOCAL_RANK': str(rank), 'LOCAL_WORLD_SIZE': str(len(lines)), 'MASTER_ADDR': '127.0.0.1',
                       'MASTER_PORT': str(port), 'TORCHELASTIC_USE_AGENT_STORE': 'True'}
        sys.stdout.flush()
        sys.stderr.flush()
        for number, name in ((1, 'out'), (2, 'err')):
            os.dup2(os.open(folder / f'{name}{rank}', os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
        sys.stdout, sys.stderr = os.fdopen(1, 'w', closefd=False), os.fdopen(2, 'w', closefd=False)
        return main(lines[rank])

    codes = forked(len(lines), work, True, begin)
    return [(code, (folder / f'err{rank}').read_text()) for rank, code in enumerate(codes)]


def forked(size, work, code_alone=False, meanwhile=lambda numbers: None):
    """[work(rank)] of as many processes; code_alone: their exit codes, of which work returns one."""
    context = multiprocessing.get_context('fork')
    processes = []
    for rank in range(size):
        ours, theirs = context.Pipe(duplex=False)

        def call(rank=rank, theirs=theirs):
            torch.set_num_threads(1)
            faulthandler.dump_traceback_later(LONGEST - 10)  # pytest shows it where the test fails
            try:
                result = work(rank)
            except BaseException:
                result = traceback.format_exc()
            if code_alone:
                sys.stderr.write(result if isinstance(result, str) else '')
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(1 if isinstance(result, str) else result)
            theirs.send(result)
            theirs.close()
            os._exit(0)

        process = context.Process(target=call)
        process.start()
        theirs.close()
        processes.append((process, ours))
    try:
        return ended(processes, code_alone, meanwhile)
    finally:  # what a failed test leaves behind would slow those after it
        for process, _ in processes:
            process.kill()


def ended(processes, code_alone, meanwhile):
    results = []
    store = meanwhile([process.pid for process, _ in processes])  # until all have ended
    for process, ours in processes:
        if not code_alone:
            assert ours.poll(LONGEST), 'a rank gives no answer'
            results.append(ours.recv())
        process.join(LONGEST)
        assert process.exitcode is not None, 'a rank does not end'
        if code_alone:
            results.append(process.exitcode)
    del store
    return results
