"""What models of several tasks share: experts with gates, extraction layers, towers."""
