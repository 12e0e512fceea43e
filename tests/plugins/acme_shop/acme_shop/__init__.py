"""A small shop: orders come in over HTTP, invoices are made in the background under ``shop:invoice``."""
