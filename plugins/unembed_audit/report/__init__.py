"""The report of an audit: figures, page, and results for code scanners."""
