"""The DICOM Upper Layer protocol, sans-I/O (PS3.8)."""
