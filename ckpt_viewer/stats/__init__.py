"""Numbers from bytes: exact statistics and histograms of tensors in bounded memory. Needs numpy; imported on demand."""
