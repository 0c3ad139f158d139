"""Search for candidates that part the two models: objectives, GCG, random search."""

from dormant.search.gcg import SearchResult, SearchSettings, allowed_tokens, gcg, random_search
from dormant.search.objective import DivergenceObjective, ModelPair, Objective

__all__ = [
    "DivergenceObjective",
    "ModelPair",
    "Objective",
    "SearchResult",
    "SearchSettings",
    "allowed_tokens",
    "gcg",
    "random_search",
]
