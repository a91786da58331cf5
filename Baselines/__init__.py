"""The models that MDMNS is compared with: name for --model -> class."""
from Baselines.bm3 import BM3
from Baselines.diffmm import DiffMM
from Baselines.lattice import LATTICE
from Baselines.lgcnm import LightGCNM
from Baselines.lightgcn import LightGCN
from Baselines.mfbpr import MFBPR
from Baselines.vbpr import VBPR

BASELINES = {
    'mfbpr': MFBPR, 'lightgcn': LightGCN,
    'vbpr': VBPR, 'lgcnm': LightGCNM, 'bm3': BM3, 'lattice': LATTICE, 'diffmm': DiffMM,
}
