"""Linear operators and Krylov methods; knows no network."""
