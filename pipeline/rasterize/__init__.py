"""Documents into page images, in processes that can be killed. Start reading at `sandbox.py`."""
