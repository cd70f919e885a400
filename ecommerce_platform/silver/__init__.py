"""From raw rows to entities: mappings, loads in any order, histories, rejects and the accounting of every row."""
