"""One conformance suite for whatever stands behind the executor port.

`port.py` says what an engine's adapter has to give; `suite.py` holds the cases, each a function
that takes a `Bench`. `ours.py` adapts the two pools of this machine. To try another engine, write
its adapter and run `CASES` with it, as `tests/runtime/test_port_conformance.py` does with ours.
"""
