"""Two checkpoints side by side: a window with their differences, and the marks of these in both trees."""
