"""Going on with an answer that another worker told in part."""
