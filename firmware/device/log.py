"""Lines for the console. Secrets are never passed here."""


def log(text: str) -> None:
    """Print one line."""
    print("upeer:", text)
