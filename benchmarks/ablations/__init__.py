"""The fair test: arms, settings, a queue of runs under one protocol, and the report (benchmarks/ABLATION.md)."""
