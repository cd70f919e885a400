"""Whether figures are plausible: what the rows of bronze and silver say about each other.

That rows convert says nothing of whether they mean what the mapping takes them for. Findings warn, they never block or
reject. Reading files, mapping rows and the rules of one table are elsewhere; so is what changes from load to load (`drift`).
"""
