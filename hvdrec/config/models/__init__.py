"""What each model class is, as far as configs say it: one file a class, and the registry."""
