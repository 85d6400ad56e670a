"""Faults under load, each a script that ends with counts."""
