"""The command line: `ottla <noun> <verb>`, in the protocol's own words."""
