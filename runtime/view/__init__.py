"""Read models: what was and what is, as frozen values, from the read-only database.

Nothing is imported here: each command imports the one view that it shows.
"""
