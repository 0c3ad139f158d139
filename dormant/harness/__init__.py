"""What stands between pytest and the claims: running one, and the state of a session."""
