"""Text to pretrain on: read, cleaned, split by document, frozen, and written as tokens."""
