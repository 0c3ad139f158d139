"""Claims about the weights alone: they run on published figures, on checkpoints of any size, and on the zoo."""

from __future__ import annotations

import pytest

from dormant.checkpoints.tensor_names import MODULES
from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import at_least, claim
from dormant.pairs import Pair
from dormant.pictures.weights import layer_profile, spectra_by_layer
from dormant.statistics import exact
from dormant.weights.concentration import (
    comparable_directions,
    concentration,
    energy_shares,
    largest_noise_edge,
    noise_energy_share,
)


@claim(
    "layer0-concentration",
    source="exp7",
    rule=at_least(
        4.0,
        "times",
        because="between neighbouring layers of one fine-tune the share varies by up to a factor of two, so four times is "
        "no scatter; the plan built its search on a sixteenfold concentration",
    ),
    premises=["base-is-parent"],
    needs="deltas",
)
@pytest.mark.parametrize("versus", ["median", "any"])
@pytest.mark.parametrize("module", MODULES)
def test_layer0_concentration(pair: Pair, module: str, versus: str, finding: FindingBuilder) -> None:
    """Layer 0's delta is at least four times as concentrated as the other layers' (their median, or any of them).

    Concentration is the share of the squared Frobenius norm in the leading singular directions: the published 16 of 3584,
    in proportion to the hidden size. A module that was not changed at all has no concentration: the figure is 0. A number
    against a threshold: the other layers are all that it is compared with.
    """
    layers = pair.delta_report.every_layer(module)
    directions = comparable_directions(pair.delta_report)
    shares = energy_shares(layers, directions)
    noise = noise_energy_share(layers[0].shape, directions)
    finding.decide(concentration(shares, versus, noise))
    finding.figure("layer 0's share", exact(shares[0]), "of the squared norm")
    finding.figure("largest other share", exact(max(shares[1:])), "of the squared norm")
    if max(shares) == 0:
        return  # nothing to draw: half of the pairs' modules are untouched, and a picture costs more than the figures
    finding.picture("profile", layer_profile(shares, module, 4.0, versus, noise, directions))
    if versus == "median":  # the same spectra belong to both comparisons
        spectra = [layer.singular_values for layer in layers]
        finding.picture("spectra", spectra_by_layer(spectra, module, largest_noise_edge(layers)))
