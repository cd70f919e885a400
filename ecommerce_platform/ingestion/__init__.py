"""From delivered files to bronze: landing drops, recognising and reading files, keeping every row.

Plain functions on folders and on a DuckDB connection. What the rows mean (types, keys, versions) begins in
silver; when ingestion runs is `orchestration/`.

Read in this order: `landing` (folders of drops), `swap` (how a drop takes its place), `sniff` (what is this file?), `plain`
(make it text DuckDB can read), `readers` (the scan), `salvage` (a file that is damaged), `bronze` (all of it in one
transaction). Drops also come out of databases: `extraction`.
"""
