"""The guest agent: its wire format, a session that stays in step with it, and the two ways to reach it."""
