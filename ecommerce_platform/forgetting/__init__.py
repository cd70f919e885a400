"""Forgetting a person: finding what is personal in drops, tables and snapshots, and taking it out.

`persons` says who is meant, `records` which delivered records are the person's, `rewrite` changes them within their
files, `raw` does that to all files of the landing zone, `published` to the snapshots, and `ledger` keeps what must outlive
a kill. Everything that follows from the drops follows them through the ordinary loads; `operations/forget.py` puts
the steps in order. docs/personal-data.md tells users what is done and why.
"""
