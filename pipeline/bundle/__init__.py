"""Bundles as wholes: planned, verified in one pass, listed, compared. `transports.bundle` reads and writes them."""
