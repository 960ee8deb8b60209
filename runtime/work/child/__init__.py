"""The child program: what runs between the supervisor and a command.

Standard library only, and imported under the top-level name `child` by an interpreter started with
`-I -S`, so that it is up in some 25 ms and sees nothing of the user's packages. It does not import
anything of `runtime`; `proc` is shared the other way round.
"""
