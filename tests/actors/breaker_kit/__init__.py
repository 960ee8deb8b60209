"""What any circuit breaker owes its callers: numbered cases against one small port.

A case is a function of `make`, which makes a `Subject` of given settings. Another implementation is
graded by writing its `Subject`; what it does not have raises `Absent`.
"""
