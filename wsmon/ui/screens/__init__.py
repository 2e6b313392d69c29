"""What is laid over the dashboard: questions before dangerous actions, and help."""
