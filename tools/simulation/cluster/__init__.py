"""Three whole brokers over one store, with clients and faults, on virtual time."""
