"""Whom to believe: signatures made and checked, policies that say whose count; refuses wherever it is not sure."""
