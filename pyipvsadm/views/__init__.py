"""Listings as text: records in, characters out."""
