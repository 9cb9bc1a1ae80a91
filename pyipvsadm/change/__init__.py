"""Changes that are more than one message: each module is one of them."""
