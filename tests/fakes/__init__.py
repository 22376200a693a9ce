"""Stand-ins for the world that behave like the real thing, and break on demand."""
