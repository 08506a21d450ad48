"""What a run reports while it lasts: counts, times, what bounds it, how far it is.

    metrics.py, metrics_port.py  counts as data, and on a port for Prometheus
    flow_meter.py, bottleneck.py which stage waits for which, and what bounds the run
    progress.py                  the line on a terminal

Counts what passes, and changes nothing.
"""
