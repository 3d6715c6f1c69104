"""Who may do what: identities and how they are proved, permissions (PS3.7 D.3.3.7, PS3.15)."""
