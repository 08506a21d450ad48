"""The tables: their columns (`schema.py`), where they lie (`keys.py`), how they are written and read (`parquet.py`).

In: records. Out: Parquet files, and rows again. Does not know what makes the rows.
"""
