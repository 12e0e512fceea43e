"""Rows of CSV, XLSX and JSON Lines, in one form: batches of rows with the numbers that people see."""
