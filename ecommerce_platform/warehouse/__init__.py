"""The file with the tables: connection, transactions, versions, SELECTs that become tables, contract checks. Knows nothing of
deliveries, customers or models."""
