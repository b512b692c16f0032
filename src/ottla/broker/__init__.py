"""One process: the layers assembled and wired."""
