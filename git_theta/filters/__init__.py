"""Clean and smudge as functions: a checkpoint's bytes to its manifest, and back.

Nothing is imported here: a filter's handshake must not wait for NumPy.
"""
