"""Forecasts: what the next days and weeks will bring, with what is known up to an origin and nothing later.

Pure functions on numpy arrays: series without partial days (`series`), forecasting methods whose parameters are
estimated once and carried forward (`methods`), rolling origins and who wins (`backtest`), measures (`measures`),
intervals from out-of-sample errors (`conformal`), categories that add up to their total (`reconciliation`), regressors
known at the origin (`regressors`), trend, season and unit roots (`diagnostics`), weekly demand of single products and
what is needed over a lead time (`products`). Reading tables and keeping models is the business of the modules beside
this package; nothing here knows a table or Dagster.
"""
