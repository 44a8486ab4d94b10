"""Base models on disk: catalogue, download, manifest, verification, and the chat template that goes with each."""
