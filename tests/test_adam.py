"""The Adam of every run: torch's own steps, without torch's compiler being loaded."""
import subprocess
import sys
from pathlib import Path

import torch

from Utils.Adam import Adam

ROOT = Path(__file__).resolve().parent.parent


def test_it_takes_torchs_steps(generator):
    start = torch.randn(5, 3, generator=generator)
    gradients = torch.randn(4, 5, 3, generator=generator)
    ends = []
    for kind in (Adam, torch.optim.Adam):
        parameter = torch.nn.Parameter(start.clone())
        optimiser = kind([parameter], 0.1, fused=True)
        for number, gradient in enumerate(gradients):
            if number == 2:  # as a run that goes on
                state, optimiser = optimiser.state_dict(), kind([parameter], 0.1, fused=True)
                optimiser.load_state_dict(state)
            optimiser.zero_grad()
            assert parameter.grad is None
            (parameter * gradient).sum().backward()
            optimiser.step()
        ends.append(parameter.detach())
        assert parameter.requires_grad
    assert torch.equal(*ends)
    assert not torch.equal(ends[0], start)


def test_no_run_loads_the_compiler(tmp_path):
    code = ('import sys, Main; code = Main.main(sys.argv[1:]); assert not code; '
            'sys.exit(3 if "torch._dynamo" in sys.modules else 0)')
    ended = subprocess.run([sys.executable, '-c', code, '--epoch', '1', '--latdim', '4', '--dims', '4', '--device',
                            'cpu', '--data_dir', str(tmp_path), '--out', str(tmp_path / 'run')], cwd=ROOT,
                           capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr
