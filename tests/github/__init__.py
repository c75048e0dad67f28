"""The workflows, run here: their steps by an interpreter of their own YAML."""
