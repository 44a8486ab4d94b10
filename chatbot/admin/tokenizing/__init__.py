"""Tokenizers of one's own: learnt from a corpus, kept in a folder of their own, measured beside the base model's."""
