"""Mutants that change nothing that a number could show, each with its reason."""

EQUIVALENT: dict[str, str] = {}
