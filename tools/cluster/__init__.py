"""A cluster of real processes, what may go wrong with it, and what its clients must never see."""
