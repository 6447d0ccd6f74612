"""Pickle bytes -> neutral values. Nothing named in a pickle is imported, called or looked up."""
