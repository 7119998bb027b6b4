"""Small programs that the documents show."""
