"""The feature plan: what each input column becomes."""
