"""What happens inside a model between a text and its next token, in numbers that a reader can follow."""
