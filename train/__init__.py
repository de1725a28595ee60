"""Pictures in, a trained fastai Learner out. Never installed on the device's account."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 120 characters; its type's name if it has none."""
    return (str(error).splitlines() or [""])[0][:120] or type(error).__name__
