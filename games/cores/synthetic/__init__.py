"""Problems by rule and by chance."""
