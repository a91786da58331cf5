"""How long threads spin: what libgomp itself says that it has read."""
import os
import re
import subprocess
import sys

import pytest

from Experiments.Tables import ROOT


@pytest.mark.parametrize(('given', 'expected'), [({}, '3000'), ({'GOMP_SPINCOUNT': '7'}, '7'),
                                                 ({'OMP_WAIT_POLICY': 'passive'}, '0')])
def test_threads_spin_briefly_unless_told_otherwise(given, expected):
    environment = {name: value for name, value in os.environ.items()
                   if name not in ('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY')}
    said = subprocess.run([sys.executable, '-c', 'import Main'], cwd=ROOT, capture_output=True, text=True, check=True,
                          env={**environment, 'OMP_DISPLAY_ENV': 'verbose', **given}).stderr
    found = re.search(r"GOMP_SPINCOUNT = '(\d+)'", said)
    if not found:
        pytest.skip('the OpenMP of this torch is not GNU\'s')
    assert found[1] == expected
