"""Everything that happens while a model learns."""
