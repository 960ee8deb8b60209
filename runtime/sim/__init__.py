"""Simulation: whole runs of the real actors under virtual time, seeded chance and faults."""
