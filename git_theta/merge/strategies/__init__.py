"""The built-in strategies: one group of several versions enters as blocks, the merged numbers leave as blocks.

A formula is written in its function's docstring with the paper it comes from: θ are the versions' numbers, θ_base
those of the common ancestor, δ = θ − θ_base a version's change, w its weight. What always holds: float64 throughout,
operations on single elements or sums in a fixed order, never a call into BLAS, so that the result is the same on
every machine and for any number of threads.
"""
