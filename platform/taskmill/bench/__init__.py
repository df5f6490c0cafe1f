"""Benchmarks that anyone can repeat: `taskmill bench drain|submit|single|latency`."""
