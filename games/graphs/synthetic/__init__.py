"""Problems and solutions by chance."""
