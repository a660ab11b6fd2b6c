"""Suites that a new operator, kernel method, record or claim inherits."""
