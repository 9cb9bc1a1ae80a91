"""Render listings: records in, text out."""
