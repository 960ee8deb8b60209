"""The pure half of Banksman: what is decided, and nothing of how it is done."""
