"""Speed, size and memory against git-lfs and the published git-theta: ``python benchmarks/run.py``."""
