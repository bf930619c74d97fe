"""Inverting Morgan fingerprints: a plugin for unembed that lives in a package of its own."""
