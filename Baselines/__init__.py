"""The models that MDMNS is compared with: name for --model -> class."""
from Baselines.diffmm import DiffMM
from Baselines.lightgcn import LightGCN
from Baselines.mfbpr import MFBPR

BASELINES = {'mfbpr': MFBPR, 'lightgcn': LightGCN, 'diffmm': DiffMM}
