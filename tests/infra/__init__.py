"""Tests that read what is in `infra/` as the programs would that it is for. None of these runs here."""
