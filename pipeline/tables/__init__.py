"""The tables: their columns (`schema.py`), their place in an output folder (`keys.py`), and Parquet (`parquet.py`).

In: records. Out: Parquet files, and rows again. Does not know what makes the rows.
"""
