"""The window. Widgets receive nodes and finished results: they never open files, never compute over tensors."""
