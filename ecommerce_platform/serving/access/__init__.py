"""Who may see what: users, keys, sessions, their saved views and thresholds, and the log of what they did.

All of it is in `<data dir>/serving.db` (`store.py`), which only its owner may read. `accounts.py` answers who somebody is,
`roles.py` what that one may; `saved.py` holds what people keep, `web.py` signs browsers in.
"""
