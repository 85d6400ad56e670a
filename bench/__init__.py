"""Benchmarks: this project beside what people would write instead."""
