"""Embedded servers and the all-in-one process, for laptops and tests; never imported in production."""
