"""The composition root: settings, build, start, run, stop, readiness and metrics of one node."""
