"""How often the hunt is right: organisms of many kinds and their clean twins, built by recipe, hunted, and judged by truth."""
