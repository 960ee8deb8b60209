"""The async shell of Banksman: it carries out what the actors decide."""
