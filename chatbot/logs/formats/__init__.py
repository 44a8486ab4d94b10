"""Conversations of other programs as values of our own, and ours as text for other programs."""
