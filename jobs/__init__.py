"""One file for each thing a person runs; `cli.py` gathers them under `quire`."""
