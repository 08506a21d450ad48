"""What a run will take, from a sample of the documents: `quire plan --estimate`.

    listing (and plan) ─ population ─► draw ─ survey ─► sample ─ replicates ─► figures, each with an interval
                         strata         fetch, probe and       weights that vary
                         by size        render only these      as the draw might have

`population.py` counts everything and draws documents, `survey.py` looks at the drawn ones, `sample.py` holds what it
saw and weighs it, `figures.py` turns that into pages, tokens, hours, money and bytes, `actual.py` sets a run's results
against them. Nothing here knows how long a page takes on a device: that is given to `figures.py`.
"""
