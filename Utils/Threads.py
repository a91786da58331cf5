"""Threads that wait for one another: to be imported before torch, whose OpenMP reads the environment once.

At the end of every parallel loop GNU OpenMP's threads spin, about a millisecond, until the last is there. Where another
process takes one of the cores, its thread is late every time: an epoch of the demo takes fifty times as long. With a
hundredth of the spins it takes four times as long, and on idle cores a tenth more at most.
"""
import os

if not {'GOMP_SPINCOUNT', 'OMP_WAIT_POLICY'} & os.environ.keys():
    os.environ['GOMP_SPINCOUNT'] = '3000'  # of 300,000
