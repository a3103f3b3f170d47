"""Passes over the text of a batch: numba, without the GIL, cached on disk. Arrays are all that one hands to the next.

decode -> words, lines -> repetition, c4_lines; compression reads the bytes. No kernel calls one of another file:
numba's cache would not notice an edit there.
"""
