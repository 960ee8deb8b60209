"""Other people's circuit breakers behind the port, through their public API.

None of them takes a clock. What a peer reads as the wall clock is replaced by one that the case
moves, as freezegun would; nothing else of theirs is touched. What a peer does not have raises
`Absent`, at the first point at which a case asks for it.
"""
