"""Members of groups that come, stall, die and come back: both protocols on virtual time, with faults."""
