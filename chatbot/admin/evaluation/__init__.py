"""Evaluation: whether a candidate is better than the champion, and how sure one may be."""
