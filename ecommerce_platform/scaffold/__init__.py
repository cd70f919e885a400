"""A shop of one's own: guessing a source folder from a sample of files, and checking one against them.

`new_source` and `check_source` are what the command line calls. What a source may say is `contracts.source`, how files
are read is `ingestion`, how mappings run is `warehouse`: this package uses them on a warehouse in memory and decides
nothing about them.
"""
