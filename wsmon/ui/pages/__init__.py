"""The pages of the dashboard, each in a module of its own that is imported when it is shown first."""

from importlib import import_module

from wsmon.ui.pages.page import Page
from wsmon.views.frame import PageName


def make(name: PageName) -> Page:
    """Return a new page."""
    page: Page = import_module(f"wsmon.ui.pages.{name}").PAGE()
    return page
