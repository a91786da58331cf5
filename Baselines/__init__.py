"""The models by their names for --model: MDMNS, and those that it is compared with."""
from Baselines.bm3 import BM3
from Baselines.clcrec import CLCRec
from Baselines.diffmm import DiffMM
from Baselines.ease import EASE
from Baselines.freedom import FREEDOM
from Baselines.grcn import GRCN
from Baselines.hccf import HCCF
from Baselines.ials import IALS
from Baselines.itemknn import ItemKNN
from Baselines.lattice import LATTICE
from Baselines.lgcnm import LightGCNM
from Baselines.lightgcn import LightGCN
from Baselines.mfbpr import MFBPR
from Baselines.mgcn import MGCN
from Baselines.mmgcl import MMGCL
from Baselines.mmgcn import MMGCN
from Baselines.ncl import NCL
from Baselines.ngcf import NGCF
from Baselines.popularity import Popularity
from Baselines.sgl import SGL
from Baselines.slmrec import SLMRec
from Baselines.vbpr import VBPR
from Model import MDMNS

BASELINES = {
    'pop': Popularity, 'itemknn': ItemKNN, 'ease': EASE, 'ials': IALS, 'mfbpr': MFBPR,
    'ngcf': NGCF, 'lightgcn': LightGCN, 'sgl': SGL, 'ncl': NCL, 'hccf': HCCF,
    'vbpr': VBPR, 'lgcnm': LightGCNM, 'mmgcn': MMGCN, 'grcn': GRCN, 'lattice': LATTICE, 'clcrec': CLCRec,
    'mmgcl': MMGCL, 'slmrec': SLMRec, 'bm3': BM3, 'freedom': FREEDOM, 'mgcn': MGCN, 'diffmm': DiffMM,
}
MODELS = {'mdmns': MDMNS, **BASELINES}
