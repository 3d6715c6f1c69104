"""DICOMweb over HTTP: store, retrieve and search on the archive (PS3.18)."""
