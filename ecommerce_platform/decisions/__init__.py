"""What should be done: experiments read, and optimisers over what the marts know.

A decision is a pure function of frames and of the figures in `decisions:` of source.yml, a contract under `models/ml/` and an
asset (`orchestration/assets/decisions.py`). Nothing here trains a model or knows Dagster; models of `ml` are met through tables.
"""
