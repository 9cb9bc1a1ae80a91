"""Read rules as text (-R, --apply) and write them (-S)."""
