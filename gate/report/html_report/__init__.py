"""The report to look at: one HTML file that opens offline, drawn here and needing no script."""
