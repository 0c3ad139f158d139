"""Claims: statements with rules, what was measured of them, and the ledger that later runs must reproduce."""
