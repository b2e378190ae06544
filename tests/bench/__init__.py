"""Benchmarks: ratios between things that are measured in one run, on one machine. No test looks at a time."""
