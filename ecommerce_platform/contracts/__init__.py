"""What is known about tables and sources besides their SQL: types, loaders, and documents derived from them."""
