"""Benchmarks, each a command of its own: `python -m quire.jobs.bench.NAME --help`. No test times anything; these do."""
