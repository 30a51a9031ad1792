"""Conversion between Docker's formats and OCI's: pure plans; what is lost is part of a plan."""
