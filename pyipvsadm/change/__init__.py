"""Changes that go beyond one request: the difference of two tables, carried out and undone; trying a change out."""
