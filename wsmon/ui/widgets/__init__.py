"""The parts of the screen. Each draws lines of `wsmon.ui.render` and repaints only those that changed."""
