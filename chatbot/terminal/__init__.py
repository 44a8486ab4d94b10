"""The Textual application. It draws, and asks `dialogue` for everything that happens in a conversation."""
