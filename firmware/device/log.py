"""Lines for the console. Secrets are never passed here."""


def log(text: str) -> None:
    """Print one line."""
    print("upeer:", text)


def log_fault(what: str, error) -> None:
    """Print that something failed, and why."""
    log("%s failed: %s %s" % (what, type(error).__name__, error))
