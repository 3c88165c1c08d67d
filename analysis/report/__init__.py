"""The report: page, tables, exports."""
