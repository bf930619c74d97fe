"""What a plugin implements: the black box, its proposers, and the way in and out.

Words are those of the design: a *signal* is a batch tensor `[N, ...]` whose rows all have one fixed shape within an
inverter; an *embedding* is `[N, D]`; the embedding to invert is the *target*. Each class asks for one or two
underscored methods; the public method checks, then delegates. Vary by wrapping, not by overriding a public method.
"""
