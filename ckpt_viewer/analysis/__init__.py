"""What a checkpoint means: roles of its entries, an overview, where it loads. Pure functions over the core tree."""
