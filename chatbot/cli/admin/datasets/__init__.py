"""The commands of `chatbot admin dataset`."""
