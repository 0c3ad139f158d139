"""The models of a collection on the hub."""

from __future__ import annotations

import huggingface_hub

from dormant.errors import BadInput, first_line


def models_of_collection(slug: str) -> list[str]:
    """The ids of a collection's models, in its order; raises BadInput where it cannot be read or holds none."""
    try:
        items = huggingface_hub.get_collection(slug).items
    except Exception as error:  # no network, no such collection, no slug: each raises a kind of its client's own
        raise BadInput(
            f"a collection must be one that the hub shows; got {first_line(error)!r} for {slug!r}; correct it, or log in"
        ) from error
    models = [item.item_id for item in items if item.item_type == "model"]
    if not models:
        raise BadInput(f"a collection must hold models; got {len(items)} other things in {slug!r}; name another")
    return models
