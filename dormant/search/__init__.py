"""Search for candidates that part the two models: objectives, one evaluator, GCG, hill climbing, random search."""

from dormant.inference.evaluator import Evaluator, ModelPair
from dormant.search.course import Progress, SearchResult, SearchSettings
from dormant.search.gcg import gcg, hill_climb, random_search

__all__ = [
    "Evaluator",
    "ModelPair",
    "Progress",
    "SearchResult",
    "SearchSettings",
    "gcg",
    "hill_climb",
    "random_search",
]
