"""An evaluation as one HTML page that needs no network: its report, figures, rows and traces."""
