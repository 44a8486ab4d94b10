"""What becomes of what was said: review and judgement, redaction, import and export."""
