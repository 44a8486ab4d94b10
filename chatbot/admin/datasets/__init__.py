"""Datasets: frozen folders of what is to be learnt, and where each item came from."""
