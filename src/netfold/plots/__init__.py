"""Pictures of every result. Results find theirs by name; nothing else imports this room but pages and commands."""
