"""Audit of vector stores: what their vectors give away, what of it matters, and a report to hand on."""
