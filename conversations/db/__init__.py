"""Statements compiled once, and rows inserted without model objects."""
