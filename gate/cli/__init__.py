"""The command line. One file a command; ``main`` has the table."""
