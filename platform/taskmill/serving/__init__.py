"""HTTP as this platform serves it, for the API and for the endpoints of probes: limits, deadlines, connections."""
