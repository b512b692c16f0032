"""Share groups whose members come, stall, renew, leave or die."""
