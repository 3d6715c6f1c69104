"""Service classes over DIMSE, SCP and SCU side by side (PS3.4)."""
