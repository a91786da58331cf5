"""BPR-MF: Rendle, Freudenthaler, Gantner, Schmidt-Thieme, "BPR: Bayesian Personalized Ranking from Implicit Feedback",
UAI 2009, arXiv 1205.2618."""
from Baselines.common import EmbeddingModel


class MFBPR(EmbeddingModel):
    """Matrix factorisation trained by BPR: the embeddings themselves are the outputs, and what is decayed."""
