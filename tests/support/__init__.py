"""What the suites share. No mocks: recorders that keep what they were given, and values."""
