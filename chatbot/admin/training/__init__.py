"""Training: from a dataset's folder and a base model to an adapter's folder. Knows no database."""
