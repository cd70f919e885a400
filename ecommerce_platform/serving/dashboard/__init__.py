"""The dashboard: pages over one published snapshot, in a browser.

Figures come from gold tables or from compiled metrics (`contracts/metric_sql.py`), never from a formula of its own.
`data` reads, `view` says what is looked at, `figures` asks, `charts` draws, `parts` are pieces of pages, `screens/` holds a
module per page, `app` is what Streamlit runs and `server` what a browser reaches.
"""
