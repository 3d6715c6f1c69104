"""Gateways: DICOMweb in front of a remote DIMSE archive, DIMSE in front of a remote DICOMweb service."""
