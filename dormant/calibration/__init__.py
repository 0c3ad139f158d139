"""How often the hunt is right: organisms of many kinds and their clean twins are built, hunted and judged."""
