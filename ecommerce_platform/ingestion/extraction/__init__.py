"""From the tables of a shop's database to drops: immutable Parquet files below `raw/`, so that replays need no database.

Read in this order: `database` (what is asked of any database), `postgresql`, `mysql`, `sqlite` (how each answers), `staging`
(rows on their way into a file), `ledger` (what earlier drops say was delivered), `extract` (all of it, in one drop). `source.yml`
says what is read from where, `orchestration` when.
"""
