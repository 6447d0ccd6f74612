"""Fixtures that all rooms share. This folder's own modules (builders, made_tensors) can be imported by name."""
