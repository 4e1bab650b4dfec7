"""What models of several tasks share: experts, gates, towers."""
