"""What a checkpoint is: frozen records, no I/O, no numpy at import."""
