"""Documents → page images, in child processes that can be killed. Read `sandbox.py` first."""
