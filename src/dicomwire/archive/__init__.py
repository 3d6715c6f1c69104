"""The one core behind both doors: append-only segments and the catalogue derived from them."""
