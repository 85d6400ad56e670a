"""Reads that join, search or count."""
