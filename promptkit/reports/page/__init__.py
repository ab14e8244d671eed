"""A run as one HTML page that needs no network: what is said of it, its figures, its rows and their traces."""
