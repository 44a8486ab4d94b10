"""The commands of `chatbot admin corpus`."""
