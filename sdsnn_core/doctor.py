def doctor() -> None:
    """TEMP"""
