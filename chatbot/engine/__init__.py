"""Tokens in, tokens out: the Engine protocol, the torch engine, its server, the client, and a scripted fake."""
