"""Claims: a sentence with a rule fixed before measuring, its verdict, and the ledger of what was found."""
