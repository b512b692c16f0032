"""The long counts: what `make proof` runs, and the tables it appends to."""
