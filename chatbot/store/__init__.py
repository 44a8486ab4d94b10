"""What was said, judged and derived: tables, sessions, migrations, backup."""
