"""What a screen or a line log shows, as frozen values: pure functions of the model and a time."""
