"""The only place that writes tables: connection, transactions, loads, SQL models, publishing."""
