"""What people see: each module turns values of the model into text and knows no backend."""
