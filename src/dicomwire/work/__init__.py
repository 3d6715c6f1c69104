"""Jobs, worklists, procedure steps, commitments: the state of a department that both doors share (PS3.4)."""
