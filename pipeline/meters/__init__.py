"""What a run tells of itself while it lasts: counts, times, what bounds it, how far it is.

    metrics.py, metrics_port.py  counts as data, and on a port for Prometheus
    flow_meter.py, bottleneck.py who waits for whom, and what that says
    progress.py                  the line on a terminal

Reads what passes by and changes nothing.
"""
