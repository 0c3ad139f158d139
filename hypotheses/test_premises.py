"""The premises, tested on every pair like any other claim; what they measure is in `dormant.claims.premises`."""

from dormant.claims.premises import above_noise_floor as test_above_noise_floor
from dormant.claims.premises import base_is_parent as test_base_is_parent
from dormant.claims.premises import next_token_open as test_next_token_open
from dormant.claims.premises import prompt_geometry as test_prompt_geometry

__all__ = ["test_above_noise_floor", "test_base_is_parent", "test_next_token_open", "test_prompt_geometry"]
