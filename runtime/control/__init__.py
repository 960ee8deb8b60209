"""The owner's control socket: one vocabulary of commands, its server and its client.

Nothing is imported here: a one-shot command needs only `client`, which is stdlib alone.
"""
