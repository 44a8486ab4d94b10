"""Pretraining: a language model from nothing but text, or an existing one read on."""
